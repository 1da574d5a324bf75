//! Data that cannot be used: exit code 1, an error with the location, and no checkpoint.

use crate::{Desk, Outcome};

const COLUMNS: &str = "name = \"mine\"\nobtain = \"ask me\"\n[types]\nPER = \"person\"\n[format]\nkind = \"columns\"\n\
                       separator = \"\\t\"\ntoken = 0\ntags = [1]\nscheme = \"bio\"\n[splits]\ntrain = \"train.data\"\n";
const SPANS: &str =
    "name = \"mine\"\n[format]\nkind = \"jsonl\"\n[splits]\ntrain = \"train.data\"\n";
const CONVERSATIONS: &str = "name = \"mine\"\n[format]\nkind = \"conversations\"\ncontainer = \"lines\"\n[splits]\n\
                             train = \"train.data\"\n";

/// Trains on one file of the described format; `None` for no file.
fn train(description: &str, data: Option<&str>) -> Outcome {
    let desk = Desk::new();
    desk.write("mine.toml", description);
    if let Some(data) = data {
        desk.write("train.data", data);
    }
    let outcome = desk.train(&["data.train=[{dataset = \"mine.toml\", split = \"train\"}]"]);
    assert!(!desk.path("run/latest").exists(), "a checkpoint was written");
    outcome
}

#[test]
fn a_missing_file() {
    train(COLUMNS, None)
        .fails(1, &["split `train` of dataset `mine`", "train.data` does not exist", "ask me"]);
}

#[test]
fn a_malformed_row() {
    let data = "Tim\tB-PER\nCook\tI-PER\n\nruns Apple\n";
    train(COLUMNS, Some(data)).fails(1, &["train.data:4: ", "columns"]);
    train(COLUMNS, Some("Tim\tB-PER\nCook\tX-PER\n")).fails(1, &["train.data:2: ", "`X-PER`"]);
}

#[test]
fn a_label_that_the_description_does_not_have() {
    train(COLUMNS, Some("Tim\tB-PER\nApple\tB-ORG\n"))
        .fails(1, &["train.data:2: label `ORG`", "`[types]`"]);
}

#[test]
fn a_span_outside_the_text() {
    let data = "{\"text\": \"Tim runs\", \"entities\": [{\"start\": 4, \"end\": 9, \"label\": \"person\"}]}\n";
    train(SPANS, Some(data)).fails(1, &["train.data:1: span 4..9 of `person`", "8 characters"]);
}

#[test]
fn a_conversation_that_starts_with_the_assistant() {
    let data = "{\"conversations\": [{\"from\": \"gpt\", \"value\": \"Hello\"}, {\"from\": \"human\", \"value\": \"Text: a\"}]}\n";
    train(CONVERSATIONS, Some(data)).fails(1, &["train.data:1: ", "starts with the assistant"]);
}

#[test]
fn an_empty_dataset() {
    train(COLUMNS, Some(""))
        .fails(1, &["split `train` of dataset `mine` has no examples", "train.data"]);
}

#[test]
fn bytes_that_are_not_text() {
    let desk = Desk::new();
    desk.write("mine.toml", COLUMNS);
    fs_err::write(desk.path("train.data"), b"Tim\tB-PER\nCo\xffok\tI-PER\n").unwrap();
    let outcome = desk.train(&["data.train=[{dataset = \"mine.toml\", split = \"train\"}]"]);
    outcome.fails(1, &["train.data:2: ", "UTF-8"]);
}

#[test]
fn a_passage_longer_than_the_window() {
    let desk = Desk::new();
    let outcome = desk.train(&["train.max_seq_len=40"]);
    outcome.fails(1, &["example `demo/", "more than max_seq_len `40`", "train.max_seq_len"]);
    assert!(!desk.path("run/latest").exists());
    let outcome = desk.train(&["train.max_seq_len=40", "data.long_passages=drop"]);
    outcome.fails(1, &["training data is empty"]);
    assert!(
        outcome.stderr.contains("40 passages are longer than `train.max_seq_len`"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn validate_lists_every_problem() {
    let desk = Desk::new();
    desk.write("mine.toml", COLUMNS);
    desk.write("train.data", "Tim\tB-PER\n\nbad\n\nApple\tB-ORG\n\nCook\tI-PER\n");
    let outcome = desk.uner(&["data", "validate", "mine.toml", "--root", "."]);
    outcome.fails(1, &["2 problems"]);
    for part in ["train.data:3: ", "train.data:5: label `ORG`", "examples"] {
        assert!(outcome.stdout.contains(part), "{}", outcome.stdout);
    }
    desk.write("train.data", "Tim\tB-PER\n");
    assert_eq!(
        desk.uner(&["data", "validate", "mine.toml", "--root", "."]).succeeds().stdout,
        "1 examples, 1 entities\n"
    );
}
