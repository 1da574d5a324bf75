//! Scores equal those of the released evaluators, on golden vectors (if available) and on our own
//! fixtures.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use uner_eval::{
    instructuie::{self, InstructUieCounts},
    official::{self, OfficialCounts},
    score_bio, score_queries,
    seqeval::{Reading, SeqevalCounts, Tag, entities},
};

use crate::shared::{repository, shared};

/// Scores are sums and quotients of counts: only rounding may differ.
const TOLERANCE: f64 = 1e-9;

fn read<T: DeserializeOwned>(path: &Path) -> T {
    serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
}

fn read_lines(path: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Every number of `expected` must be in `found` under the same name.
fn assert_figures(found: &Value, expected: &Value, what: &str) {
    match expected {
        Value::Object(expected) => {
            for (key, value) in expected {
                assert_figures(&found[key], value, &format!("{what}.{key}"));
            }
        }
        Value::Number(expected) => {
            let (found, expected) = (found.as_f64(), expected.as_f64().unwrap());
            let close = found.is_some_and(|found| (found - expected).abs() <= TOLERANCE);
            assert!(close, "{what}: {found:?} is not {expected}");
        }
        other => assert_eq!(found, other, "{what}"),
    }
}

fn to_value(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn check_units(folder: &Path, expected_lines: [usize; 3]) {
    let units = ["parser", "normalize", "get_response"]
        .map(|name| read_lines(&folder.join(format!("{name}.jsonl"))));
    assert_eq!(units.each_ref().map(Vec::len), expected_lines);
    let [parser, normalize, get_response] = units;
    for line in parser {
        assert_eq!(official::parse(string(&line, "text")), strings(&line["parsed"]), "{line}");
    }
    for line in normalize {
        assert_eq!(
            official::normalize(string(&line, "text")),
            string(&line, "normalized"),
            "{line}"
        );
    }
    for line in get_response {
        assert_eq!(
            official::get_response(string(&line, "text")),
            string(&line, "response"),
            "{line}"
        );
    }
}

/// The fixtures that `make.py` in the same folder wrote; the tests need nothing else.
fn fixtures() -> PathBuf {
    repository().join("tests/fixtures/evaluator")
}

#[test]
fn fixtures_units() {
    check_units(&fixtures(), [132, 186, 10]);
}

#[test]
fn fixtures_scores() {
    let found =
        score_queries(&fixtures().join("subset.json"), &fixtures().join("predictions.jsonl"))
            .unwrap();
    assert_figures(&to_value(found), &read(&fixtures().join("scores.json")), "queries");
    let found = score_bio(&fixtures().join("spans.jsonl")).unwrap();
    assert_figures(&to_value(found), &read(&fixtures().join("expected.json")), "bio");
}

#[test]
fn official_units_equal_the_released_functions() {
    if let Some(units) = shared("golden/evaluator/units") {
        check_units(&units, [359, 420, 14]);
    }
}

/// Reads the official queries: type, kind of perturbation, gold answer, output.
fn queries(folder: &Path) -> Vec<[String; 4]> {
    let items: Vec<Value> = read(&folder.join("subset.json"));
    let predictions = read_lines(&folder.join("predictions.jsonl"));
    assert_eq!(items.len(), predictions.len());
    let pairs = items.iter().zip(&predictions);
    pairs
        .map(|(item, prediction)| {
            let question = string(&item["conversations"][2], "value");
            let entity_type =
                question.trim_start_matches("What describes ").trim_end_matches(" in the text?");
            let gold = string(&item["conversations"][3], "value");
            [entity_type, string(prediction, "kind"), gold, string(prediction, "output")]
                .map(str::to_owned)
        })
        .collect()
}

fn official_score<'a>(
    queries: impl IntoIterator<Item = &'a [String; 4]>,
    response: fn(&[String; 4]) -> &str,
) -> Value {
    let mut counts = OfficialCounts::default();
    for query in queries {
        counts.merge(OfficialCounts::of_query(&query[2], response(query)));
    }
    to_value(counts.score())
}

fn check_official(folder: &Path) {
    let queries = queries(folder);
    let expected: Value = read(&folder.join("scores.json"));
    let report = to_value(
        score_queries(&folder.join("subset.json"), &folder.join("predictions.jsonl")).unwrap(),
    );
    assert_figures(&report["official"], &expected["official"], "official");
    for (entity_type, score) in expected["per_type"].as_object().unwrap() {
        assert_figures(&report["per_type"][entity_type]["official"], score, entity_type);
    }
    assert_eq!(
        report["per_type"].as_object().unwrap().len(),
        expected["per_type"].as_object().unwrap().len()
    );
    let raw = official_score(&queries, |query| &query[3]);
    assert_figures(&raw, &expected["without_get_response"], "without_get_response");
    let perfect = official_score(&queries, |query| &query[2]);
    assert_figures(&perfect, &expected["golds_as_predictions"], "golds_as_predictions");
    for (kind, score) in expected["per_kind"].as_object().unwrap() {
        let of_kind = queries.iter().filter(|query| query[1] == *kind);
        assert_figures(
            &official_score(of_kind, |query| official::get_response(&query[3])),
            score,
            kind,
        );
    }
}

#[test]
fn official_scores_equal_the_released_evaluator() {
    for dataset in ["CrossNER_AI", "mit-restaurant"] {
        if let Some(folder) = shared(&format!("golden/evaluator/{dataset}")) {
            check_official(&folder);
        }
    }
}

#[test]
fn span_scores_equal_seqeval_and_nervaluate() {
    let Some(folder) = shared("golden/evaluator/spans") else { return };
    let expected: Value = read(&folder.join("expected.json"));
    for (name, expected) in expected.as_object().unwrap() {
        let found = to_value(score_bio(&folder.join(format!("{name}.jsonl"))).unwrap());
        for key in ["sentences", "seqeval_default", "seqeval_strict_IOB2"] {
            assert_figures(&found[key], &expected[key], &format!("{name}.{key}"));
        }
        if let Some(nervaluate) = expected.get("nervaluate") {
            assert_figures(&found, &nervaluate["overall"], &format!("{name}.overall"));
            assert_figures(
                &found["per_type"],
                &nervaluate["per_type"],
                &format!("{name}.per_type"),
            );
        }
    }
}

#[test]
fn instructuie_scores_equal_its_evaluator() {
    let Some(folder) = shared("golden/instructuie") else { return };
    for line in read_lines(&folder.join("format.jsonl")) {
        assert_eq!(
            instructuie::format(string(&line, "text")),
            string(&line, "formatted"),
            "{line}"
        );
    }
    let mut counts = InstructUieCounts::default();
    for line in read_lines(&folder.join("predictions.jsonl")) {
        let (gold, output) = (string(&line, "ground_truth"), string(&line, "output"));
        let set = |key: &str| BTreeSet::from_iter(strings(&line[key]));
        assert_eq!(instructuie::entities(gold), set("truth_set"), "{line}");
        assert_eq!(instructuie::entities(output), set("pred_set"), "{line}");
        let of_answer = InstructUieCounts::of_answer(gold, output);
        assert_figures(
            &line,
            &serde_json::json!({"tp": of_answer.tp, "fn": of_answer.r#fn, "fp": of_answer.fp}),
            output,
        );
        counts.merge(of_answer);
    }
    let mut expected: Value = read(&folder.join("scores.json"));
    assert_eq!(expected.as_object_mut().unwrap().remove("outputs"), Some(174.into()));
    assert_figures(&to_value(counts.score()), &expected, "scores");
}

/// Reads the last column of a column file, by sentence.
fn column_tags(path: &Path) -> Vec<Vec<Tag>> {
    let text = fs_err::read_to_string(path).unwrap();
    let mut sentences = vec![Vec::new()];
    for line in text.lines() {
        match line.split_whitespace().next_back() {
            Some(tag) => sentences.last_mut().unwrap().push(tag.parse().unwrap()),
            None => sentences.push(Vec::new()),
        }
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

#[test]
fn wnut17_submissions_reach_their_published_f1() {
    let Some(folder) = shared("data/wnut17") else { return };
    let gold = column_tags(&folder.join("emerging.test.annotated"));
    assert_eq!(gold.len(), 1287);
    let published = [
        ("uh_ritual", 41.86),
        ("spinningbytes.txt", 40.78),
        ("sjtu_adapt.txt", 40.42),
        ("arcada", 39.98),
        ("flytxt", 38.35),
        ("mic-cis.txt", 37.06),
        ("drexel_cci", 26.30),
    ];
    for (system, f1) in published {
        let predicted = column_tags(&folder.join("submissions").join(system));
        assert_eq!(predicted.len(), gold.len(), "{system}");
        let mut counts = SeqevalCounts::default();
        for (gold, predicted) in gold.iter().zip(&predicted) {
            assert_eq!(gold.len(), predicted.len(), "{system}");
            counts.add(&entities(gold, Reading::Default), &entities(predicted, Reading::Default));
        }
        let found = counts.score().f1 * 100.0;
        assert!((found - f1).abs() < 0.005, "{system}: {found} is not the published {f1}");
    }
}

/// Returns the error of scoring a gold file and a predictions file with these contents.
fn complaint(gold: &str, predictions: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let [gold_path, predictions_path] =
        ["gold.json", "predictions.jsonl"].map(|name| folder.path().join(name));
    fs_err::write(&gold_path, gold).unwrap();
    fs_err::write(&predictions_path, predictions).unwrap();
    let message = score_queries(&gold_path, &predictions_path).unwrap_err().to_string();
    message.replace(&*folder.path().to_string_lossy(), "")
}

#[test]
fn bad_input_is_named_with_file_and_line() {
    let turns = r#"[{"value":"Text: b"},{"value":""},{"value":"x?"},{"value":"[\"b\"]"}]"#;
    let gold = format!(r#"[{{"id":"q1","conversations":{turns}}}]"#);
    let good = r#"{"id":"q1","output":"[]"}"#;
    let cases = [
        (
            gold.clone(),
            format!("{good}\n\n{good}"),
            "has `1` queries but `/predictions.jsonl` has `2` predictions",
        ),
        (
            gold.clone(),
            String::new(),
            "has `1` queries but `/predictions.jsonl` has `0` predictions",
        ),
        (
            gold.clone(),
            "\n{\"id\":\"q1\"}".to_owned(),
            "`/predictions.jsonl`:2: missing field `output`",
        ),
        (gold.clone(), "{".to_owned(), "`/predictions.jsonl`:1: EOF"),
        (
            gold.clone(),
            good.replace("q1", "q2"),
            "`/predictions.jsonl`:1: the prediction is for `q2`",
        ),
        ("[\n{}]".to_owned(), good.to_owned(), "`/gold.json`:2: missing field `conversations`"),
        (
            r#"[{"conversations":[]}]"#.to_owned(),
            good.to_owned(),
            "`/gold.json`: item 1 (``) has `0` turns",
        ),
    ];
    for (gold, predictions, expected) in cases {
        let found = complaint(&gold, &predictions);
        assert!(found.contains(expected), "{found:?} does not say {expected:?}");
    }
}

#[test]
fn bad_tags_are_named_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spans.jsonl");
    let good = r#"{"gold":["O"],"pred":["O"]}"#;
    for (line, expected) in [
        (r#"{"gold":["O"],"pred":["X-y"]}"#, ":2: `X-y` is not a BIO tag"),
        (r#"{"gold":["O"],"pred":[]}"#, ":2: `1` gold tags but `0` predicted ones"),
        (r#"{"gold":["O"]}"#, ":2: missing field `pred`"),
    ] {
        fs_err::write(&path, format!("{good}\n{line}\n")).unwrap();
        let found = score_bio(&path).unwrap_err().to_string();
        assert!(found.contains(expected), "{found:?} does not say {expected:?}");
    }
    assert!(score_bio(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
}
