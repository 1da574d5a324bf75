use std::path::Path;

use serde_json::json;
use uner_data::Span;

use super::*;
use crate::error::DistillError;
use crate::passage::Passage;
use crate::teacher::PromptVersion;

fn record(passage: &str, answer: &str) -> AnswerRecord {
    AnswerRecord {
        passage: passage.to_owned(),
        model: "m".to_owned(),
        prompt: PromptVersion::Type,
        time: 7,
        answer: answer.to_owned(),
        finish_reason: Some("stop".to_owned()),
        input_tokens: Some(3),
        output_tokens: None,
    }
}

fn passage(id: &str) -> Passage {
    let (subset, document) = ("s".to_owned(), "d".to_owned());
    let span = Span { start: 0, end: 1 };
    Passage { id: id.to_owned(), text: "x".to_owned(), subset, document, span }
}

#[test]
fn answers_survive_and_torn_lines_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(ANSWERS);
    let (mut writer, index) = AnswerWriter::open(folder.path()).unwrap();
    assert_eq!(index.len(), 0);
    for record in [record("a", "x\ny"), record("b", "é")] {
        writer.append(&record).unwrap();
    }
    drop(writer);
    let whole = fs_err::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in first..whole.len() {
        fs_err::write(&path, &whole[..cut]).unwrap();
        // Reading leaves the file as it is.
        assert!(!AnswerReader::open(folder.path()).unwrap().index().contains("b"));
        assert_eq!(fs_err::metadata(&path).unwrap().len(), cut as u64);
        let (_, index) = AnswerWriter::open(folder.path()).unwrap();
        assert!(index.contains("a") && !index.contains("b"));
        assert_eq!(fs_err::metadata(&path).unwrap().len(), first as u64);
    }
    let (mut writer, _) = AnswerWriter::open(folder.path()).unwrap();
    writer.append(&record("b", "é")).unwrap();
    writer.append(&record("a", "a later answer")).unwrap();
    let mut reader = AnswerReader::open(folder.path()).unwrap();
    for (id, answer) in [("b", Some("é")), ("a", Some("x\ny")), ("c", None), ("b", Some("é"))] {
        let expected = answer.map(|answer| record(id, answer));
        assert_eq!(reader.read(id).unwrap(), expected);
    }
}

#[test]
fn answers_have_one_writer_and_other_files_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let writer = AnswerWriter::open(folder.path()).unwrap();
    let error = AnswerWriter::open(folder.path()).unwrap_err();
    assert!(matches!(error, DistillError::AnswersInUse(_)), "{error}");
    drop(writer);
    for text in ["notes", "notes\n", "{\"passage\":\"a\"}\n{}\n"] {
        let path = folder.path().join(ANSWERS);
        fs_err::write(&path, text).unwrap();
        let error = AnswerWriter::open(folder.path()).unwrap_err();
        assert!(matches!(error, DistillError::NotAnAnswer { .. }), "{error}");
        assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
    }
}

fn write(path: &Path, passages: &[Passage]) {
    let lines = passages.iter().map(|passage| serde_json::to_string(passage).unwrap() + "\n");
    fs_err::write(path, lines.collect::<String>()).unwrap();
}

#[test]
fn passages_are_named_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passages.jsonl");
    write(&path, &[passage("a"), passage("b")]);
    let found = Passages::fingerprint(&path).unwrap();
    assert_eq!(found.count, 2);
    write(&path, &[passage("b"), passage("a")]);
    assert_ne!(Passages::fingerprint(&path).unwrap().hash, found.hash);
    write(&path, &[passage("a"), passage("b"), passage("a")]);
    let error = Passages::fingerprint(&path).unwrap_err().to_string();
    assert!(error.contains("passages.jsonl:3: the passage `a` occurs a second time"), "{error}");
    fs_err::write(&path, "{}\n").unwrap();
    let error = Passages::fingerprint(&path).unwrap_err().to_string();
    assert!(error.contains("passages.jsonl:1: this is not a passage: missing field"), "{error}");
    write(&path, &[]);
    assert!(matches!(Passages::fingerprint(&path), Err(DistillError::NoPassages(_))));
}

#[test]
fn a_folder_has_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let passages = Fingerprint { count: 2, hash: "ab".to_owned() };
    let settings = json!({"temperature": 0.0});
    let prompt = PromptVersion::Type;
    let run = Description { model: "m".to_owned(), settings, prompt, passages, shard: None };
    let error = Description::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("`run.json` is missing"), "{error}");
    run.claim(folder.path()).unwrap();
    run.claim(folder.path()).unwrap();
    assert_eq!(Description::read(folder.path()).unwrap(), run);
    let other = Description { shard: Some("1/3".parse().unwrap()), ..run };
    let error = other.claim(folder.path()).unwrap_err().to_string();
    assert!(error.contains("its `shard` is `all`, not `1/3`"), "{error}");
}

#[test]
fn shards_divide_the_passages() {
    let shards: Vec<Shard> = ["0/3", "1/3", "2/3"].map(|text| text.parse().unwrap()).into();
    for position in 0..10 {
        assert_eq!(shards.iter().filter(|shard| shard.contains(position)).count(), 1);
    }
    for wrong in ["", "1", "3/3", "0/0", "-1/3", "a/b"] {
        let error = wrong.parse::<Shard>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{wrong}` is not a shard")), "{error}");
    }
    assert_eq!(serde_json::to_value(shards[1]).unwrap(), json!("1/3"));
    assert!(serde_json::from_value::<Shard>(json!("3/3")).is_err());
}

#[test]
fn a_file_that_is_not_complete_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    AtomicFile::write_all_to(&path, b"one").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    std::io::Write::write_all(&mut file, b"two").unwrap();
    drop(file);
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "one");
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
}
