//! Tables for a run of two benchmarks, one of which is missing.

use uner_data::{Entity, Example, Span};

use super::*;
use crate::errors::TypePair;
use crate::record::Record;
use crate::{Answer, DatasetScorer};
use uner_data::{FoundEntity, SeenMentions};

fn entity(text: &str, entity_type: &str, start: usize) -> Entity {
    let span = Some(Span { start, end: start + text.chars().count() });
    Entity { text: text.to_owned(), entity_type: entity_type.to_owned(), span }
}

fn report() -> Report {
    let example = Example {
        id: "0".to_owned(),
        text: "Ada met Bo in Rome".to_owned(),
        entities: vec![
            entity("Ada", "person", 0),
            entity("Bo", "person", 8),
            entity("Rome", "city", 14),
        ],
        relations: Vec::new(),
        queries: vec!["person".to_owned(), "city".to_owned()],
    };
    let training = Example { entities: vec![entity("ADA", "person", 0)], ..example.clone() };
    let answer = |entity_type: &str, raw: &str, entities: Vec<Entity>| Answer {
        entity_type: entity_type.to_owned(),
        raw: raw.to_owned(),
        entities: entities
            .into_iter()
            .map(|entity| FoundEntity { entity, probability: None })
            .collect(),
        ..Answer::default()
    };
    let answers = vec![
        answer(
            "person",
            "[\"Ada\", \"met\"]",
            vec![entity("Ada", "person", 0), entity("met", "person", 4)],
        ),
        answer("city", "[\"Rome\"]", vec![entity("Rome", "city", 14)]),
    ];
    let mut scorer =
        DatasetScorer::new("mit-restaurant", "social", Some(SeenMentions::from_iter([&training])));
    scorer.add(&Record::new(("mit-restaurant", "test"), example, answers).unwrap());
    let missing =
        Outcome::Missing { dataset: "GENIA".to_owned(), reason: "no such file".to_owned() };
    Report::new("a model", vec![Outcome::Scored(Box::new(scorer.finish())), missing])
}

fn rows(text: &str, starting: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    text.lines()
        .map(cells)
        .filter(|cells| cells.get(1).is_some_and(|first| first == starting))
        .collect()
}

#[test]
fn a_missing_benchmark_has_its_row_and_the_average_says_so() {
    let markdown = report().markdown();
    let missing: Vec<String> =
        rows(&markdown, "GENIA").into_iter().map(|mut row| row.remove(2)).collect();
    assert_eq!(
        missing[..3],
        ["missing", "no such file", "missing"],
        "in scores, reasons, published numbers"
    );
    let average = &rows(&markdown, "macro over 1 of 2")[0];
    assert_eq!([3, 6, 7, 8].map(|column| average[column].as_str()), ["66.7"; 4]);
}

#[test]
fn scores_stand_beside_published_ones() {
    let markdown = report().markdown();
    let ours = rows(&markdown, "mit-restaurant");
    assert_eq!(
        ours[0][2..11],
        ["1", "66.7", "66.7", "66.7", "66.7", "66.7", "66.7", "66.7 to 66.7", "100.0 (1)"]
    );
    assert_eq!(ours[1][2..12], ["2", "0", "0", "3", "0", "0", "1", "1", "0", "0"]);
    assert_eq!(ours[2][2..4], ["66.7", "this run"]);
    let partial = ours.iter().find(|row| row[5] == "half-credit F1").unwrap();
    assert_eq!(partial[2..4], ["66.7", "this run"]);
    let bert = ours.iter().find(|row| row[3] == "BERT-base").unwrap();
    assert_eq!((bert[2].as_str(), bert[4].as_str()), ("81.02", "supervised"));
    assert_eq!(rows(&markdown, "person")[0][2..7], ["2", "50.0", "50.0", "50.0", "50.0"]);
}

#[test]
fn json_gives_the_report_back() {
    let report = report();
    let json = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    assert!(report.terminal(false).contains("no such file"));
}

#[test]
fn confused_types_are_counted() {
    let mut report = report();
    assert!(!report.markdown().contains("confusions"));
    let Outcome::Scored(scored) = &mut report.outcomes[0] else { panic!() };
    let pair = |count| TypePair { gold: "city".into(), predicted: "person".into(), count };
    scored.errors.confusion = (1..=12).rev().map(pair).collect();
    let rows = rows(&report.markdown(), "mit-restaurant");
    let confused: Vec<&Vec<String>> = rows.iter().filter(|row| row[3] == "city").collect();
    assert_eq!(
        (confused.len(), &confused[0][2..5]),
        (10, &["12", "city", "person"].map(str::to_owned)[..])
    );
}
