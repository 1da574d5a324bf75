use super::*;
use std::path::Path;

/// Writes predictions from where an output ends.
fn complete(path: &Path, format: PredictionFormat, all: &[Prediction]) -> Result<usize, DataError> {
    let (mut writer, written) = PredictionWriter::resume(path, format)?;
    let last = written.num_documents.checked_sub(1).map(|last| all[last].id.clone());
    assert_eq!(written.last_id, last);
    for prediction in &all[written.num_documents..] {
        writer.write(prediction)?;
    }
    writer.finish()?;
    Ok(written.num_documents)
}

/// Names and contents of all files of an output.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    if path.is_file() {
        return vec![(String::new(), fs_err::read(path).unwrap())];
    }
    let mut files: Vec<(String, Vec<u8>)> = fs_err::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), fs_err::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn an_output_cut_anywhere_is_resumed_exactly() {
    let found = [("é", 0, "a b", Some(0.5)), ("é c", 0, "d", None)];
    let mut samples =
        [prediction("a/b", "é c\n", &found), prediction("", "", &[]), prediction("\"\n", "x", &[])];
    samples[1].problem = Some("\n".to_owned());
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        assert_eq!(complete(&whole, format, &samples).unwrap(), 0, "{format:?}");
        let expected = contents(&whole);
        let records = if whole.is_dir() { whole.join(brat::INDEX) } else { whole.clone() };
        let bytes = fs_err::read(&records).unwrap();
        let mut before = 0;
        for cut in 0..=bytes.len() {
            fs_err::write(&records, &bytes[..cut]).unwrap();
            let found = complete(&whole, format, &samples).unwrap();
            assert!(found == before || found == before + 1, "{format:?} cut at {cut}");
            before = found;
            assert_eq!(contents(&whole), expected, "{format:?} cut at {cut}");
        }
        assert_eq!(before, samples.len(), "{format:?}");
    }
}

#[test]
fn what_is_left_of_a_torn_brat_document_is_removed() {
    let samples = samples();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let mut writer = PredictionWriter::create(&path, PredictionFormat::Brat).unwrap();
    writer.write(&samples[0]).unwrap();
    drop(writer);
    for name in ["0000002-other.txt", "0000002-other.ann", ".0000002-x.ann"] {
        fs_err::write(path.join(name), "torn").unwrap();
    }
    complete(&path, PredictionFormat::Brat, &samples).unwrap();
    let names: Vec<String> = contents(&path).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "0000001-a_.._b.ann",
            "0000001-a_.._b.txt",
            "0000002-a_.._b.ann",
            "0000002-a_.._b.txt",
            "0000003-__x____id___9.ann",
            "0000003-__x____id___9.txt",
            "0000004-...ann",
            "0000004-...txt",
            "documents.jsonl",
        ]
    );
}

#[test]
fn other_files_are_neither_overwritten_nor_cut() {
    let folder = tempfile::tempdir().unwrap();
    let outputs = FORMATS.map(|format| {
        let path = folder.path().join(format!("{format:?}"));
        complete(&path, format, &samples()).unwrap();
        let index = path.join(brat::INDEX);
        let path = if path.is_dir() { index } else { path };
        (format, fs_err::read(path).unwrap())
    });
    let path = folder.path().join("other");
    for format in &FORMATS[..4] {
        let foreign =
            outputs.iter().filter(|(other, _)| other != format).map(|(_, bytes)| bytes.clone());
        let texts = ["one line", "{\"text\": \"x\"}", "[1, 2", "\n\nx", "]", "# id = 1\n\nx\tO"];
        for content in foreign.chain(texts.map(|text| text.as_bytes().to_vec())) {
            fs_err::write(&path, &content).unwrap();
            assert!(PredictionWriter::create(&path, *format).is_err());
            let resumed = PredictionWriter::resume(&path, *format);
            let message = resumed.unwrap_err().to_string();
            assert!(message.contains("was not written in this format"), "{format:?}: {message}");
            assert_eq!(fs_err::read(&path).unwrap(), content);
        }
    }
    fs_err::remove_file(&path).unwrap();
    fs_err::create_dir(&path).unwrap();
    fs_err::write(path.join("notes.txt"), "x").unwrap();
    for opened in [
        PredictionWriter::create(&path, PredictionFormat::Brat),
        PredictionWriter::resume(&path, PredictionFormat::Brat).map(|(writer, _)| writer),
    ] {
        assert!(opened.unwrap_err().to_string().contains("it exists already"));
    }
}

#[test]
fn an_output_has_one_writer_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let path = folder.path().join(format!("{format:?}"));
        let writer = PredictionWriter::create(&path, format).unwrap();
        let problem = PredictionWriter::resume(&path, format).unwrap_err().to_string();
        assert!(problem.contains("another process writes to it"), "{problem}");
        drop(writer);
        PredictionWriter::resume(&path, format).unwrap();
    }
}
