//! Files as Python, editors and other programs write them.

use serde_json::{Value, json};

use super::*;
use crate::score_bio;

const PASSAGE: &str = "Ruvel Systems hired Ines Okart.";

/// A gold item with one query.
fn item(id: &Value, passage: &str, answer: &str) -> String {
    let turns = [
        ("human", format!("Text: {passage}")),
        ("gpt", "I've read this text.".to_owned()),
        ("human", "What describes person in the text?".to_owned()),
        ("gpt", answer.to_owned()),
    ];
    let turns = turns.map(|(from, value)| json!({"from": from, "value": value}));
    json!({"id": id, "conversations": turns}).to_string()
}

fn score(gold: &str, predictions: &str) -> Result<QueryReport, String> {
    let folder = tempfile::tempdir().unwrap();
    let (gold_path, predictions_path) =
        (folder.path().join("gold"), folder.path().join("predictions"));
    fs_err::write(&gold_path, gold).unwrap();
    fs_err::write(&predictions_path, predictions).unwrap();
    score_queries(&gold_path, &predictions_path).map_err(|error| error.to_string())
}

fn score_tags(lines: &str) -> Result<Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tags");
    fs_err::write(&path, lines).unwrap();
    score_bio(&path)
        .map(|report| serde_json::to_value(report).unwrap())
        .map_err(|error| error.to_string())
}

#[test]
fn byte_order_marks_are_left_out() {
    let gold = format!("\u{feff}[{}]", item(&json!("a"), PASSAGE, r#"["Ines Okart"]"#));
    let predictions = "\u{feff}{\"output\": \"[\\\"Ines Okart\\\"]\"}\n";
    assert_eq!(score(&gold, predictions).unwrap().scores.official.n_correct, 1);
    let found = score_tags("\u{feff}{\"gold\": [\"B-x\"], \"pred\": [\"B-x\"]}").unwrap();
    assert_eq!(found["strict"]["correct"], 1);
}

#[test]
fn ids_may_be_numbers_and_must_agree() {
    let gold = format!("[{}]", item(&json!(5), PASSAGE, "[]"));
    assert!(score(&gold, r#"{"id": 5, "output": "[]"}"#).is_ok());
    assert!(score(&gold, r#"{"id": "5", "output": "[]"}"#).is_ok());
    assert!(score(&gold, r#"{"id": null, "output": "[]"}"#).is_ok());
    let error = score(&gold, r#"{"id": 6, "output": "[]"}"#).unwrap_err();
    assert!(
        error.contains("the prediction is for `6` but the query at its position is `5`"),
        "{error}"
    );
}

#[test]
fn json_is_read_as_python_reads_it() {
    let gold = format!("[{}]", item(&json!("a"), PASSAGE, r#"["Ines Okart"]"#));
    let output = r#""output": "[\"Ines Okart\"]""#;
    for prediction in [
        format!("{{{output}, \"score\": NaN, \"loss\": [-Infinity, Infinity]}}"),
        format!("{{\"output\": \"[]\", {output}}}"),
    ] {
        assert_eq!(score(&gold, &prediction).unwrap().scores.official.n_correct, 1, "{prediction}");
    }
    // Python reads `NaN` in an answer, too, but then fails on it as on every item that is not a
    // string.
    let report = score(&gold, r#"{"output": "[\"Ines Okart\", NaN]"}"#).unwrap();
    assert_eq!((report.scores.official.n_pred, report.n_unreadable_pred), (0, 1));
    let twice = gold.replacen("{\"id\"", "{\"id\":\"b\",\"id\"", 1);
    assert!(score(&twice, r#"{"id": "a", "output": "[]"}"#).is_ok());
    let error = score("[{\"id\": \"a\"}]", "").unwrap_err();
    assert!(error.contains(":1: missing field `conversations` at line 1"), "{error}");
}

#[test]
fn halves_of_characters_are_compared() {
    let gold =
        format!("[{}]", item(&json!("a"), "Ines HALF", r#"["Ines \\ud83d", "\\ude80 Okart"]"#));
    let gold = gold.replace("HALF", r"\ud83d").replace(r"\\\\u", r"\\u");
    let same = score(&gold, r#"{"output": "[\"ines \\ud83d\", \"Okart\"]"}"#).unwrap();
    assert_eq!(
        (same.scores.official.n_correct, same.scores.official.n_pred, same.scores.official.n_gold),
        (1, 2, 2)
    );
    // The half in the passage matches the half in the answer.
    let found = score(&gold, r#"{"output": "[\"Ines \\ud83d\"]"}"#).unwrap();
    assert_eq!((found.scores.semeval.strict.correct, found.scores.semeval.strict.missed), (1, 1));
    // Two consecutive halves are one character.
    let whole = score(&gold, r#"{"output": "[\"Ines \\ud83d\\ude80\"]"}"#).unwrap();
    assert_eq!(whole.scores.official.n_correct, 0);
}

#[test]
fn a_gold_mention_given_again_is_one_entity() {
    let gold =
        format!("[{}]", item(&json!("a"), PASSAGE, r#"["Ines Okart", "Ines Okart", "Bo", "Bo"]"#));
    let report = score(&gold, r#"{"output": "[\"Ines Okart\"]"}"#).unwrap();
    assert_eq!(
        (
            report.scores.semeval.strict.correct,
            report.scores.semeval.strict.missed,
            report.scores.semeval.strict.spurious
        ),
        (1, 1, 0)
    );
}

#[test]
fn messages_show_what_cannot_be_seen() {
    let error = score_tags("{\"gold\": [\"B\u{200b}-x\"], \"pred\": [\"O\"]}").unwrap_err();
    assert!(error.contains(r"`B\u{200b}-x` is not a BIO tag"), "{error}");
}

#[test]
fn tags_may_be_of_iobes_and_bilou() {
    let row = |gold: &str, pred: &str| {
        let tags = |tags: &str| tags.split(' ').map(str::to_owned).collect::<Vec<String>>();
        json!({"gold": tags(gold), "pred": tags(pred)}).to_string()
    };
    for (scheme, [end, single]) in [("IOBES", ["E", "S"]), ("BILOU", ["L", "U"])] {
        let gold = format!("B-PER {end}-PER O {single}-LOC {single}-LOC");
        let pred = format!("B-PER I-PER O {single}-LOC {single}-LOC");
        let found = score_tags(&format!("{}\n{}", row("B-x", "O"), row(&gold, &pred))).unwrap();
        assert_eq!(
            (&found["strict"]["correct"], &found["strict"]["possible"]),
            (&json!(3), &json!(4))
        );
        let strict = &found[&format!("seqeval_strict_{scheme}")]["report"];
        assert_eq!(
            (&strict["PER"]["recall"], &strict["LOC"]["recall"]),
            (&json!(0.0), &json!(1.0))
        );
        assert!(found.get("seqeval_strict_IOB2").is_none());
    }
    let error = score_tags(&row("S-x", "U-x")).unwrap_err();
    assert!(error.contains(":1: `U-x` mixes two schemes"), "{error}");
}
