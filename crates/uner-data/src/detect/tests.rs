use std::collections::BTreeSet;

use super::*;
use crate::{
    Dataset, Example,
    dataset::{AsWritten, Files, Types},
    export::{ExportFormat, Tokens, export},
    format::{Offsets, Scheme},
    read, registry,
    shared::shared,
};

fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs_err::write(&path, text).unwrap();
    (folder, path)
}

fn detected(name: &str, text: &str) -> Detected {
    let (_folder, path) = written(name, text);
    detect(&[path]).unwrap()
}

fn refused(name: &str, text: &str) -> String {
    let (_folder, path) = written(name, text);
    detect(&[path]).unwrap_err().to_string()
}

/// Texts with spans and labels, and the number of errors.
fn content(dataset: &Dataset, split: &str, root: &Path) -> (Vec<Example>, usize) {
    let items: Vec<_> = read(dataset, split, root).unwrap().collect();
    let errors = items.iter().filter(|item| item.is_err()).count();
    let mut examples: Vec<Example> = items.into_iter().flatten().collect();
    for example in &mut examples {
        example.id.clear();
        example.queries.clear();
    }
    (examples, errors)
}

/// A description without what no file can say: the names of its labels, and passages to leave out.
fn bare(mut dataset: Dataset) -> Dataset {
    dataset.types = Some(Types::AsWritten(AsWritten::AsWritten));
    dataset.drop.clear();
    if let Format::Columns(columns) = &mut dataset.format {
        columns.metadata.clear();
        columns.defects.clear();
        columns.tag_map.clear();
    }
    dataset
}

/// Every built-in dataset whose files are at hand is detected, and read as its description reads
/// it.
#[test]
fn published_datasets_are_read_as_their_descriptions_say() {
    let Some(root) = shared("data") else { return };
    let mut kinds = BTreeSet::new();
    let mut compared = 0;
    for name in registry::names() {
        let dataset = registry::find(name).unwrap();
        // Relations are not detected.
        let is_left_out = ["finer-ord", "ddi-relations"].contains(&name);
        if matches!(dataset.format, Format::Demo(_)) || is_left_out {
            continue;
        }
        for split in dataset.splits.keys() {
            let files = dataset.files(split, &root).unwrap();
            if !files.iter().all(|file| crate::read::on_disk(file).exists()) {
                continue;
            }
            let found = detect(&files).unwrap_or_else(|error| panic!("{name} {split}: {error}"));
            let mut mine = Dataset::of_file(Path::new(""), found.format.clone());
            mine.splits["file"] = Files::Many(found.files.clone());
            let (examples, errors) = content(&mine, "file", &root);
            let mut described = bare(dataset.clone());
            if let (Format::Columns(described), Format::Columns(found)) =
                (&mut described.format, &found.format)
            {
                // Rows with a tag and an empty token, which some files have, are taken for the ends
                // of sentences.
                described.break_rows.clone_from(&found.break_rows);
            }
            let (expected, expected_errors) = content(&described, split, &root);
            assert_eq!(errors, expected_errors, "{name} {split}: {:?}", found.format);
            assert!(examples == expected, "{name} {split}: {:?}", found.format);
            assert!(!found.reason.is_empty() && !examples.is_empty(), "{name}");
            kinds.insert(found.name);
            compared += 1;
        }
    }
    eprintln!("{compared} splits compared, of {kinds:?}");
    assert!(compared >= 60, "{compared}");
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["brat", "columns", "conversations", "gliner", "queries"]
    );
}

#[test]
fn schemes_columns_and_peculiarities_of_published_files_are_found() {
    let Some(root) = shared("data") else { return };
    let columns = |path: &str| {
        let found = detect(&[root.join(path)]).unwrap();
        let Format::Columns(columns) = found.format else { panic!("{path}") };
        (columns, found.notes.join("\n"))
    };
    let (e_ner, notes) = columns("e-ner/all.csv");
    assert!(e_ner.quoted && e_ner.break_rows == [",O"] && e_ner.scheme == Scheme::Iob1);
    assert!(notes.contains("4 rows have the tag `P`"), "{notes}");
    let (movie, _) = columns("mit-movie/test.txt");
    assert_eq!((movie.token, &movie.tags[..]), (1, &[0][..]));
    let (wikiann, _) = columns("wikiann-en/en/val.conllu");
    assert_eq!((wikiann.token, &wikiann.tags[..]), (1, &[2][..]));
    let (genia, _) = columns("genia-nested/genia/genia.test.iob2");
    assert_eq!(genia.tags, [1, 2, 3, 4]);
    let (scierc, _) = columns("scierc/train.txt");
    assert_eq!((scierc.token, &scierc.tags[..], scierc.scheme), (0, &[3][..], Scheme::Iob1));
    let (stack, notes) = columns("stackoverflow-ner/StackOverflow/train.txt");
    assert_eq!((stack.token, &stack.tags[..]), (0, &[1][..]));
    assert!(notes.contains("column 3 has tags, too"), "{notes}");

    // Numbers cannot be mapped to tags without the publisher's word.
    let message = detect(&[root.join("finer-ord/val_gold_data.csv.gz")]).unwrap_err().to_string();
    assert!(message.contains("if the numbers in column 0 are tags, map them"), "{message}");
    let message = detect(&[root.join("wnut17/emerging.test")]).unwrap_err().to_string();
    assert!(message.contains("its format is unknown; looked at: JSON"), "{message}");
}

#[test]
fn folders_have_the_format_of_their_splits() {
    let Some(root) = shared("data") else { return };
    let names = |found: &[PathBuf]| -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        found.iter().map(name).collect()
    };
    let ai = detect(&[root.join("crossner/ai")]).unwrap();
    assert_eq!(names(&ai.files), ["dev.txt", "test.txt", "train.txt"]);
    assert_eq!(
        ai.files.iter().map(|file| split_of(file)).collect::<Vec<_>>(),
        [Some("validation"), Some("test"), Some("train")]
    );
    let harvey = detect(&[root.join("harveyner")]).unwrap();
    assert_eq!(harvey.files.len(), 3);
    assert!(harvey.others.iter().any(|(file, _)| file.ends_with("labels.txt")), "{harvey:?}");
    let ddi = detect(&[root.join("ddi/DDICorpus-2013(BRAT).zip")]).unwrap();
    assert_eq!(
        (ddi.name, names(&ddi.files)),
        ("brat", vec!["Test".to_owned(), "Train".to_owned()])
    );
    let jnlpba = detect(&[root.join("jnlpba")]).unwrap();
    assert_eq!(jnlpba.files.len(), 4);
}

const TEXT: &str = "Zoë saw 🚀 Rome.";

#[test]
fn exports_of_tools_are_told_apart_by_their_keys() {
    let kind = |text: String| {
        let found = detected("data.jsonl", &text);
        (found.name, found.format)
    };
    let name = |text: String| kind(text).0;
    assert_eq!(name(format!(r#"["{TEXT}", {{"entities": [[0, 3, "person"]]}}]"#)), "spacy");
    assert_eq!(
        name(format!(
            r#"{{"text": "{TEXT}", "ents": [{{"start": 0, "end": 3, "label": "PER"}}], "tokens": []}}"#
        )),
        "spacy"
    );
    assert_eq!(
        name(format!(
            r#"{{"text": "{TEXT}", "_task_hash": 1, "answer": "accept", "spans": [{{"start": 0, "end": 3, "label": "PER"}}]}}"#
        )),
        "prodigy"
    );
    assert_eq!(
        name(format!(r#"{{"id": 1, "text": "{TEXT}", "label": [[0, 3, "PER"]]}}"#)),
        "doccano"
    );
    assert_eq!(
        name(format!(
            r#"{{"text": "{TEXT}", "entities": [{{"id": 1, "start_offset": 0, "end_offset": 3, "label": "PER"}}]}}"#
        )),
        "doccano"
    );
    assert_eq!(
        name(format!(
            r#"{{"sentence": "{TEXT}", "entities": [{{"name": "Zoë", "type": "person", "pos": [0, 3]}}]}}"#
        )),
        "instructuie"
    );
    assert_eq!(
        name(r#"{"tokenized_text": ["Zoë", "left"], "ner": [[0, 0, "person"]]}"#.to_owned()),
        "gliner"
    );
    let task = format!(
        r#"[{{"id": 1, "data": {{"source": "x", "body": "{TEXT}"}}, "annotations": [{{"result": [{{"type": "labels", "value": {{"start": 0, "end": 3, "text": "Zoë", "labels": ["PER"]}}}}]}}]}}]"#
    );
    let (found, format) = kind(task);
    assert_eq!(found, "label-studio");
    assert!(matches!(format, Format::LabelStudio(keys) if keys.text.as_deref() == Some("body")));
    assert_eq!(
        name(r#"{"conversations": [{"from": "human", "value": "Text: Zoë left."}, {"from": "gpt", "value": "I've read this text."}, {"from": "human", "value": "What describes person in the text?"}, {"from": "gpt", "value": "[\"Zoë\"]"}]}"#.to_owned()),
        "conversations"
    );
}

#[test]
fn token_classification_needs_the_names_of_numbers() {
    let row = r#"{"id": "1", "tokens": ["Zoë", "saw", "New", "York"], "pos_tags": [1, 2, 3, 3], "ner_tags": ["S-PER", "O", "B-LOC", "E-LOC"]}"#;
    let found = detected("data.jsonl", row);
    let Format::TokenClassification(format) = found.format else { panic!("{found:?}") };
    assert_eq!((&*format.tags, format.scheme), ("ner_tags", Scheme::Iobes));
    let row = r#"{"tokens": ["Zoë", "left"], "ner_tags": [1, 0]}"#;
    let message = refused("data.jsonl", row);
    assert!(message.contains("are numbers; set `names`"), "{message}");
}

/// Everything that can be exported is detected, and read as it was.
#[test]
fn exports_are_detected() {
    let demo = registry::find("demo").unwrap();
    let examples: Vec<Example> =
        read(&demo, "test", "".as_ref()).unwrap().take(40).map(Result::unwrap).collect();
    for format in ExportFormat::all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("data{}", format.ending()));
        export(examples.clone(), &path, format, Tokens::Words).unwrap();
        let found = detect(std::slice::from_ref(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", format.name()));
        let with = |format: Format| {
            let mut dataset = Dataset::of_file(&path, format);
            dataset.splits["file"] = Files::One(path.clone());
            content(&dataset, "file", Path::new(""))
        };
        let (read, errors) = with(found.format.clone());
        let (expected, _) = with(format.format());
        assert_eq!(errors, 0, "{}: {:?}", format.name(), found.format);
        assert_eq!(read, expected, "{}: {:?}", format.name(), found.format);
    }
}

#[test]
fn headers_and_chunks_are_not_entities() {
    let found = detected("x.csv", "word,pos,chunk,ner\nZoë,NNP,B-NP,B-PER\nleft,VBD,B-VP,O\n");
    let Format::Columns(columns) = found.format else { panic!("{found:?}") };
    assert_eq!((columns.header, columns.token, &columns.tags[..]), (1, 0, &[3][..]));
    assert!(columns.quoted && found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn keys_and_units_of_spans_are_found() {
    let row = format!(
        r#"{{"doc_id": "a/1", "lang": "en", "body": "{TEXT}", "marks": [{{"begin": 11, "end": 15, "type": "city", "word": "Rome"}}]}}"#
    );
    let found = detected("data.jsonl", &row);
    let Format::Jsonl(keys) = found.format else { panic!("{found:?}") };
    assert_eq!((&*keys.text, &*keys.entities, &*keys.id), ("body", "marks", "doc_id"));
    assert_eq!((&*keys.start, &*keys.end), ("begin", "end"));
    assert_eq!((&*keys.label, &*keys.mention), ("type", "word"));
    // The rocket is two code units in UTF-16.
    assert_eq!(keys.offsets, Offsets::Utf16);
    assert_eq!(found.notes, ["offsets count UTF-16 code units"]);
}

#[test]
fn files_without_a_format_say_what_was_looked_at() {
    let message = refused("note.txt", "A text.\nIt has no tags at all.\n");
    assert!(message.contains("columns (space): rows differ in length"), "{message}");
    assert!(message.contains("the closest formats are"), "{message}");
    let message = refused("data.json", r#"[{"title": "a", "score": 1}]"#);
    assert!(message.contains("its records have the keys `title`, `score`"), "{message}");
    let message = refused("data.jsonl", r#"{"text": "Zoë", "entities": [[5, 9, "person"]]}"#);
    assert!(message.contains("as jsonl, 1 of its first items are errors"), "{message}");
    let message = refused("x.tsv", "a\tO\nb\tO\n");
    assert!(message.contains("2 columns (\\t): no column has tags"), "{message}");

    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("a.tsv"), "a\tB-x\n").unwrap();
    fs_err::write(folder.path().join("b.jsonl"), r#"{"text": "a", "entities": [[0, 1, "x"]]}"#)
        .unwrap();
    let message = detect(&[folder.path().to_owned()]).unwrap_err().to_string();
    assert!(message.contains("its files have several formats: columns"), "{message}");
}
