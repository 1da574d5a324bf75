use uner_data::{Entity, Example, FoundEntity, Span};

use super::*;
use crate::record::Record;
use crate::{Answer, DatasetScorer};

#[test]
fn every_table_is_read_and_its_published_numbers_exist() {
    assert_eq!(
        Reproduction::names(),
        ["negatives", "supervised", "template", "variants", "zero-shot"]
    );
    for name in Reproduction::names() {
        let table = Reproduction::load(name).unwrap();
        let datasets = registry::in_list(&table.list).unwrap();
        for column in table.columns.iter().filter(|column| column.published.is_some()) {
            let found = datasets.iter().filter_map(|dataset| column.published(&dataset.name));
            assert!(found.count() >= 5, "{name}: {}", column.name);
        }
    }
    let error = Reproduction::load("table-3").unwrap_err().to_string();
    assert!(error.contains("no reproduction `table-3`; known are `negatives`"), "{error}");
}

/// A report with a perfect score on one dataset, and another one missing.
fn write_report(folder: &Path) {
    let span = Some(Span { start: 0, end: 3 });
    let entity = Entity { text: "Ada".to_owned(), entity_type: "person".to_owned(), span };
    let example = Example::new("0".to_owned(), "Ada met Bo".to_owned(), vec![entity.clone()]);
    let found = vec![FoundEntity { entity, probability: None }];
    let answers = vec![Answer::of_entities("person", found)];
    let mut scorer = DatasetScorer::new("official-crossner-ai", "general", None);
    scorer.add(&Record::new(("official-crossner-ai", "test"), example, answers).unwrap());
    let missing =
        Outcome::Missing { dataset: "mit-movie".to_owned(), reason: "no such file".to_owned() };
    let report = Report::new("x", vec![Outcome::Scored(Box::new(scorer.finish())), missing]);
    fs_err::create_dir_all(folder).unwrap();
    fs_err::write(folder.join("report.json"), serde_json::to_string(&report).unwrap()).unwrap();
}

#[test]
fn cells_that_were_not_run_have_a_reason_and_a_command() {
    let root = tempfile::tempdir().unwrap();
    write_report(&root.path().join("checkpoints/negatives-none"));
    let table = Reproduction::load("negatives").unwrap().table(root.path()).unwrap();
    let row = |name: &str| {
        table.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap().to_owned()
    };
    assert_eq!(
        row("official-crossner-ai"),
        "| official-crossner-ai | 100.0 / 25.1 | – / 42.5 | – / 53.5 |"
    );
    assert_eq!(
        row("official-mit-movie"),
        "| official-mit-movie | – / 19.1 | – / 42.5 | – / 42.4 |"
    );
    assert_eq!(row("average"), "| average | 100.0 / 25.1 (1 of 7) | – / 47.7 | – / 53.4 |");
    for part in [
        "official-mit-movie (no such file), ",
        "Not run: none on official-crossner-literature (not among the benchmarks",
        "Not run: uniform: `checkpoints/negatives-uniform` has no report. It needs a GPU of 80 GB",
        "    uner-train --recipe negatives-uniform\n",
    ] {
        assert!(table.contains(part), "{part}\n{table}");
    }
    fs_err::write(root.path().join("checkpoints/negatives-none/report.json"), "{").unwrap();
    let error = Reproduction::load("negatives").unwrap().table(root.path()).unwrap_err();
    assert!(error.to_string().contains("expected the report of an evaluation"), "{error}");
}
