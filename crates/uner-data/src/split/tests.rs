use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::{Dataset, Entity, Span, read, registry, shared::shared};

/// A text of its own with one mention of each type.
fn example(id: &str, types: &[&str]) -> Example {
    let text = format!("{id} {}", types.join(" "));
    let entities = types
        .iter()
        .map(|name| Entity {
            text: id.to_owned(),
            entity_type: (*name).to_owned(),
            span: Some(Span { start: 0, end: id.chars().count() }),
        })
        .collect();
    Example::new(id.to_owned(), text, entities)
}

fn with(group_by: GroupBy) -> SplitConfig {
    SplitConfig { group_by, ..SplitConfig::default() }
}

fn published(name: &str, split: &str) -> Option<Vec<Example>> {
    let root = shared("data")?;
    let examples = read(&registry::find(name).unwrap(), split, &root).unwrap();
    Some(examples.map(Result::unwrap).collect())
}

/// The share of a type's mentions in each split.
fn shares(row: &TypeRow) -> Vec<f64> {
    let total = row.counts.iter().sum::<usize>() as f64;
    row.counts.iter().map(|count| *count as f64 / total).collect()
}

#[test]
fn every_type_of_published_data_has_its_share_in_every_split() {
    // DDI has documents of very different lengths, and rare types.
    for (name, split, tolerance) in [
        ("crossner-science", "test", 0.05),
        ("stackoverflow-ner", "train", 0.03),
        ("ddi", "train", 0.05),
        ("wnut17", "train", 0.05),
    ] {
        let Some(examples) = published(name, split) else { return };
        let number = examples.len();
        let mut documents: HashMap<String, usize> = HashMap::new();
        for example in &examples {
            let types: BTreeSet<&str> = example.gold_types().collect();
            for name in types {
                *documents.entry(name.to_owned()).or_default() += 1;
            }
        }
        let report = split_examples(examples, &SplitConfig::default()).unwrap().report();
        for (size, share) in report.splits.iter().zip([0.8, 0.1, 0.1]) {
            let found = size.num_examples as f64 / number as f64;
            // Types come first, so few examples with many types are not divided exactly.
            assert!((found - share).abs() < 0.05, "{name}: {report}");
            let frequent = size.lacks.iter().filter(|lacking| documents[*lacking] >= 3);
            assert_eq!(frequent.count(), 0, "{name}: {:?}", size.lacks);
        }
        for row in report.types.iter().filter(|row| row.counts.iter().sum::<usize>() >= 100) {
            let found = shares(row);
            assert!((found[0] - 0.8).abs() < tolerance, "{name}: {row:?}");
            assert!((found[1] - 0.1).abs() < tolerance, "{name}: {row:?}");
        }
    }
}

#[test]
fn stratified_splits_are_closer_to_the_shares_than_random_ones() {
    let Some(examples) = published("crossner-science", "test") else { return };
    // Mean distance of the types' shares from those that were wanted.
    let distance = |report: &SplitReport| {
        let rows = report.types.iter().map(|row| {
            let found = shares(row);
            (found[0] - 0.8).abs() + (found[1] - 0.1).abs() + (found[2] - 0.1).abs()
        });
        rows.sum::<f64>() / report.types.len() as f64
    };
    let stratified =
        distance(&split_examples(examples.clone(), &SplitConfig::default()).unwrap().report());
    let blind: Vec<Example> = examples
        .iter()
        .map(|example| Example { entities: Vec::new(), ..example.clone() })
        .collect();
    let random = split_examples(blind, &SplitConfig::default()).unwrap();
    let originals: HashMap<&str, &Example> =
        examples.iter().map(|example| (&*example.id, example)).collect();
    let mut random = random;
    for example in random.examples.iter_mut().flatten() {
        example.entities = originals[&*example.id].entities.clone();
    }
    let random = distance(&random.report());
    eprintln!("mean distance: stratified {stratified:.4}, random {random:.4}");
    assert!(stratified * 3.0 < random, "{stratified} {random}");
}

#[test]
fn a_type_in_three_groups_is_in_every_split() {
    for seed in 0..50 {
        let mut examples: Vec<Example> =
            (0..200).map(|index| example(&format!("c{index}"), &["common"])).collect();
        for index in 0..3 {
            examples.push(example(&format!("r{index}"), &["rare", "common"]));
        }
        examples.push(example("once", &["unique"]));
        let config = SplitConfig { seed, ..SplitConfig::default() };
        let report = split_examples(examples, &config).unwrap().report();
        let counts: BTreeMap<&str, &[usize]> =
            report.types.iter().map(|row| (&*row.name, &*row.counts)).collect();
        assert_eq!(counts["rare"], [1, 1, 1]);
        assert_eq!(counts["unique"], [1, 0, 0]);
        assert_eq!(report.splits[2].lacks, ["unique"]);
        assert!((155..=168).contains(&report.splits[0].num_examples), "{report}");
    }
}

#[test]
fn documents_and_equal_texts_stay_together() {
    let mut examples = Vec::new();
    for document in 0..40 {
        for sentence in 0..5 {
            examples.push(example(&format!("doc-{document}-{sentence}"), &["person"]));
        }
    }
    // A sentence of document 1 that document 2 repeats.
    examples[10].text = examples[5].text.clone();
    let splits = split_examples(examples, &with(GroupBy::IdPrefix("-".to_owned()))).unwrap();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (split, examples) in splits.examples.iter().enumerate() {
        for example in examples {
            let document = example.id.rsplit_once('-').unwrap().0.to_owned();
            for key in [document, example.text.clone()] {
                assert_eq!(*seen.entry(key).or_insert(split), split);
            }
        }
    }
    assert_eq!(seen["doc-1"], seen["doc-2"]);
    let report = splits.report();
    assert_eq!(report.num_repeated_texts, 1);
    assert_eq!(report.splits.iter().map(|split| split.num_groups).sum::<usize>(), 39);
}

/// Broad Twitter has tweets that occur again.
#[test]
fn equal_published_texts_are_in_one_split() {
    let Some(examples) = published("broad-twitter", "train") else { return };
    let splits = split_examples(examples, &SplitConfig::default()).unwrap();
    assert!(splits.report().num_repeated_texts > 0);
    let texts = splits
        .examples
        .each_ref()
        .map(|examples| examples.iter().map(|example| &*example.text).collect::<HashSet<&str>>());
    assert!(texts[0].is_disjoint(&texts[1]) && texts[0].is_disjoint(&texts[2]));
    assert!(texts[1].is_disjoint(&texts[2]));
}

#[test]
fn seeds_decide_and_order_is_kept() {
    let examples: Vec<Example> =
        (0..100).map(|index| example(&format!("{index:03}"), &["a"])).collect();
    let ids = |seed| {
        let config = SplitConfig { seed, ..SplitConfig::default() };
        let splits = split_examples(examples.clone(), &config).unwrap();
        splits.examples.map(|part| part.into_iter().map(|one| one.id).collect::<Vec<String>>())
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
    assert!(ids(1).iter().all(|part| part.is_sorted()));
}

#[test]
fn written_splits_are_read_back() {
    let Some(mut examples) = published("crossner-ai", "validation") else { return };
    examples[1].id = examples[0].id.clone();
    let splits = split_examples(examples, &SplitConfig::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let written = write_splits(&splits, folder.path()).unwrap();
    for (split, (_, path)) in splits.examples.iter().zip(&written.files) {
        let dataset = Dataset::of_file(path, written.format.clone());
        let items = read(&dataset, "file", "".as_ref()).unwrap();
        let found: Vec<Example> = items.map(Result::unwrap).collect();
        let plain = |examples: &[Example]| {
            examples.iter().map(|one| (one.text.clone(), one.entities.clone())).collect::<Vec<_>>()
        };
        assert_eq!(plain(&found), plain(split));
        let ids: HashSet<&str> = found.iter().map(|one| &*one.id).collect();
        assert_eq!(ids.len(), found.len());
    }
    let message = write_splits(&splits, folder.path()).unwrap_err().to_string();
    assert!(message.contains("train.jsonl") && message.contains("it exists already"), "{message}");
}

#[test]
fn unusable_shares_and_too_few_groups_are_refused() {
    let message = |shares, number: usize| {
        let examples = (0..number).map(|index| example(&index.to_string(), &["a"])).collect();
        let config = SplitConfig { shares, ..SplitConfig::default() };
        split_examples(examples, &config).unwrap_err().to_string()
    };
    assert!(message([0.8, 0.1, 0.2], 9).contains("must add up to 1"));
    assert!(message([1.2, -0.1, -0.1], 9).contains("must not be negative"));
    assert!(message([0.8, 0.1, 0.1], 2).contains("too few for 3 splits"));
    let examples = (0..10).map(|index| example(&index.to_string(), &["a"])).collect();
    let config = SplitConfig { shares: [0.9, 0.0, 0.1], ..SplitConfig::default() };
    let splits = split_examples(examples, &config).unwrap();
    assert_eq!(splits.examples.map(|part| part.len()), [9, 0, 1]);
}

proptest! {
    #[test]
    fn nothing_is_lost_and_no_split_is_empty(
        types in proptest::collection::vec(proptest::collection::vec(0..6_usize, 0..4), 3..60),
        seed in 0..100_u64,
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let examples: Vec<Example> = types
            .iter()
            .enumerate()
            .map(|(index, types)| {
                let types: Vec<&str> = types.iter().map(|at| names[*at]).collect();
                example(&format!("{index:03}"), &types)
            })
            .collect();
        let config = SplitConfig { seed, ..SplitConfig::default() };
        let splits = split_examples(examples.clone(), &config).unwrap();
        prop_assert!(splits.examples.iter().all(|part| !part.is_empty()));
        let mut all: Vec<Example> = splits.examples.concat();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        prop_assert_eq!(all, examples);
    }
}
