use super::*;
use crate::{registry, shared::shared};

/// A dataset of rows `mention type`, each a text `the <mention> here`.
fn written(name: &str, rows: &[(&str, &str)]) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = rows
        .iter()
        .map(|(mention, label)| {
            let end = 4 + mention.chars().count();
            let text = format!("the {mention} here");
            serde_json::json!({"text": text, "entities": [[4, end, label]]}).to_string()
        })
        .collect();
    fs_err::write(folder.path().join("all.jsonl"), lines.join("\n")).unwrap();
    let text =
        format!("name = \"{name}\"\n[format]\nkind = \"jsonl\"\n[splits]\nall = \"all.jsonl\"\n");
    let mut dataset = Dataset::from_toml(&text, name).unwrap();
    dataset.folder = Some(folder.path().to_owned());
    (folder, dataset)
}

fn found(datasets: &[&Dataset], config: &ConflictConfig) -> ConflictReport {
    let sources: Vec<Source<'_>> =
        datasets.iter().map(|dataset| Source { dataset, split: "all" }).collect();
    conflicts(&sources, "".as_ref(), config).unwrap()
}

#[test]
fn conflicts_within_and_between_datasets_are_told_apart() {
    let (_a, news) = written(
        "news",
        &[
            ("Paris", "location"),
            ("paris", "location"),
            ("Apple", "organization"),
            ("Apple", "Organization"),
            ("Jordan", "person"),
            ("Jordan", "location"),
            ("Tim", "person"),
        ],
    );
    let (_b, film) = written(
        "film",
        &[("PARIS", "character"), ("Jordan", "location"), ("Jordan", "person"), ("Tim", "Person")],
    );
    let report = found(&[&news, &film], &ConflictConfig::default());
    assert_eq!((report.num_mentions, report.num_conflicts), (4, 2));
    assert_eq!((report.num_within, report.num_between), (1, 1));
    let mentions: Vec<&str> = report.conflicts.iter().map(|one| &*one.mention).collect();
    assert_eq!(mentions, ["Jordan", "Paris"]);
    let readings: Vec<(&str, &str, u32)> = report.conflicts[1]
        .readings
        .iter()
        .map(|one| (&*one.source, &*one.entity_type, one.count))
        .collect();
    assert_eq!(readings, [("news:all", "location", 2), ("film:all", "character", 1)]);
    assert_eq!(report.conflicts[1].readings[0].texts, ["the [Paris] here"]);
    // Jordan is ambiguous in both datasets, which is not a conflict between them.
    let pairs: Vec<(&str, &str, &str, &str)> = report
        .type_pairs
        .iter()
        .map(|one| (&*one.source_a, &*one.type_a, &*one.source_b, &*one.type_b))
        .collect();
    assert_eq!(pairs.len(), 3);
    assert!(pairs.contains(&("news:all", "location", "film:all", "character")), "{pairs:?}");
    let markdown = report.markdown();
    assert!(markdown.contains("2 of 4 mentions have conflicting types"), "{markdown}");
    assert!(
        markdown.contains("| Paris | character | film:all | 1 | the [PARIS] here |"),
        "{markdown}"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["conflicts"][1]["readings"][1]["entity_type"], "character");
}

#[test]
fn rare_types_of_a_mention_can_be_ignored() {
    let rows = [("Paris", "location"), ("Paris", "location"), ("Paris", "person")];
    let (_a, one) = written("one", &rows);
    let config = ConflictConfig { min_count: 2, ..ConflictConfig::default() };
    assert_eq!(found(&[&one], &config).num_conflicts, 0);
    assert_eq!(found(&[&one], &ConflictConfig::default()).num_conflicts, 1);
}

#[test]
fn limited_memory_keeps_frequent_mentions_and_says_so() {
    let names: Vec<String> = (0..2_000).map(|index| format!("name{index}")).collect();
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        rows.push((name, "person"));
        // Two for each of the others, so they are frequent whenever something is forgotten.
        let label = if index % 2 == 0 { "location" } else { "person" };
        rows.extend([("Paris", label), ("Paris", label)]);
    }
    let (_a, one) = written("one", &rows);
    let config = ConflictConfig { max_mentions: 100, ..ConflictConfig::default() };
    let report = found(&[&one], &config);
    assert!(report.num_mentions <= 100 && report.forgotten > 0, "{report:?}");
    assert_eq!(report.conflicts[0].mention, "Paris");
    assert_eq!(report.conflicts[0].readings[0].count, 2_000);
    assert!(report.markdown().contains("may be missing"));
}

/// The datasets of the benchmark that are at hand.
#[test]
fn published_datasets_disagree() {
    let Some(root) = shared("data") else { return };
    let names = [
        "crossner-ai",
        "crossner-literature",
        "crossner-music",
        "crossner-politics",
        "crossner-science",
        "wnut17",
        "broad-twitter",
    ];
    let datasets: Vec<Dataset> = names.iter().map(|name| registry::find(name).unwrap()).collect();
    let sources: Vec<Source<'_>> =
        datasets.iter().map(|dataset| Source { dataset, split: "test" }).collect();
    let config = ConflictConfig { listed: 200, ..ConflictConfig::default() };
    let report = conflicts(&sources, &root, &config).unwrap();
    eprintln!(
        "{} mentions, {} conflicts, {} within, {} between",
        report.num_mentions, report.num_conflicts, report.num_within, report.num_between
    );
    for pair in report.type_pairs.iter().take(12) {
        eprintln!("{pair:?}");
    }
    assert!(report.num_between > 100 && report.num_within > 20, "{}", report.markdown());
    assert!(report.conflicts.iter().all(|conflict| {
        let types = conflict.readings.iter().map(|one| crate::inventory::fold(&one.entity_type));
        !conflict.mention.is_empty()
            && types.collect::<std::collections::BTreeSet<String>>().len() > 1
            && conflict.readings.iter().all(|one| one.texts[0].contains('['))
    }));
    // CrossNER has a type `writer` in literature that is a `person` elsewhere.
    let is_person = |pair: &&TypePair| pair.type_a == "person" || pair.type_b == "person";
    assert!(report.type_pairs.iter().filter(is_person).count() > 3);
    let again = conflicts(&sources, &root, &config).unwrap();
    assert_eq!(again, report);
}
