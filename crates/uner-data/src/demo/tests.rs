use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn split(name: &str, seed: u64) -> Vec<Example> {
    examples(name, seed).unwrap().collect()
}

fn mentions(examples: &[Example]) -> impl Iterator<Item = &Entity> {
    examples.iter().flat_map(|example| &example.entities)
}

#[test]
fn spans_are_where_the_mentions_are() {
    for name in ["train", "validation", "test"] {
        for example in split(name, 1) {
            for entity in &example.entities {
                let span = entity.span.unwrap();
                let found: String =
                    example.text.chars().skip(span.start).take(span.end - span.start).collect();
                assert_eq!(found, entity.text, "`{}`", example.text);
                assert!(ENTITY_TYPES.contains(&entity.entity_type.as_str()));
                assert!(example.queries.contains(&entity.entity_type));
            }
        }
    }
}

#[test]
fn the_seed_decides_everything() {
    assert_eq!(split("train", 3), split("train", 3));
    assert_ne!(split("train", 3), split("train", 4));
    assert_eq!(
        ["train", "validation", "test"].map(|name| split(name, 3).len()),
        [26_000, 300, 400],
        "sizes of the splits"
    );
    // Frozen: another machine or version must not change a corpus that results were reported on.
    assert_eq!(
        split("test", 0)[0].text,
        "Ms. Brenerbury wrote Burning Morning on a train from Darerbury."
    );
    assert_eq!(
        split("test", 0)[7].text,
        "Passengers for Flight 70 should go to Gate A and show a Travel Card, the letter said."
    );
}

#[test]
fn about_half_of_the_test_mentions_never_occur_in_training() {
    let train = split("train", 0);
    let in_training: BTreeSet<(&str, &str)> = mentions(&train)
        .map(|entity| (entity.entity_type.as_str(), entity.text.as_str()))
        .collect();
    for name in ["validation", "test"] {
        let held_out = split(name, 0);
        for entity_type in ENTITY_TYPES {
            let mine: Vec<&Entity> =
                mentions(&held_out).filter(|e| e.entity_type == entity_type).collect();
            let unseen = mine
                .iter()
                .filter(|e| !in_training.contains(&(entity_type, e.text.as_str())))
                .count();
            let fraction = unseen as f64 / mine.len() as f64;
            // An organization is a name and a wording: a known name in a new wording is unseen,
            // too.
            assert!((0.25..=0.85).contains(&fraction), "{name}, {entity_type}: {fraction}");
        }
        let unseen = mentions(&held_out)
            .filter(|e| !in_training.contains(&(e.entity_type.as_str(), e.text.as_str())))
            .count();
        let fraction = unseen as f64 / mentions(&held_out).count() as f64;
        assert!((0.4..=0.6).contains(&fraction), "{name}: {fraction}");
    }
}

#[test]
fn held_out_names_are_new_but_their_pieces_are_not() {
    let corpus: String =
        split("train", 0).iter().map(|example| example.text.clone() + "\n").collect();
    let words: BTreeSet<&str> = corpus.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for slot in SLOTS {
        let train: BTreeSet<String> = slot.parts.names(Pool::Train).into_iter().collect();
        for pool in [Pool::Validation, Pool::Test] {
            for name in slot.parts.names(pool) {
                assert!(
                    !train.contains(&name) && !words.contains(name.as_str()),
                    "`{name}` occurs in training"
                );
                let occurs = |piece: &str| words.iter().any(|word| word.contains(piece.trim()));
                let cut = (1..name.len()).any(|at| occurs(&name[..at]) && occurs(&name[at..]));
                assert!(cut, "`{name}` has an unknown piece");
            }
        }
    }
}

#[test]
fn types_are_all_frequent_and_sentences_of_modest_length() {
    let train = split("train", 0);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for entity in mentions(&train) {
        *counts.entry(&entity.entity_type).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    assert_eq!(counts.len(), ENTITY_TYPES.len());
    for (entity_type, count) in &counts {
        assert!(
            (0.04..0.3).contains(&(*count as f64 / total as f64)),
            "{entity_type}: {count} of {total}"
        );
    }
    let mut per_sentence = [0; 5];
    for example in &train {
        per_sentence[example.entities.len()] += 1;
        let words = example.text.split(' ').count();
        assert!((8..=25).contains(&words), "{words} words: `{}`", example.text);
    }
    assert!(
        per_sentence.iter().all(|count| *count > 100),
        "{per_sentence:?} sentences with 0, 1, 2, 3, 4 entities"
    );
}

#[test]
fn people_and_cities_share_names() {
    let train = split("train", 0);
    let named = |entity_type: &str| -> BTreeSet<String> {
        let mine = mentions(&train).filter(|entity| entity.entity_type == entity_type);
        mine.map(|entity| entity.text.clone()).collect()
    };
    assert!(named("person").intersection(&named("city")).count() >= 30);
}

#[test]
fn cities_nest_in_organizations() {
    let train = split("train", 0);
    let nested = train.iter().filter(|example| {
        let spans = |entity_type: &'static str| {
            example
                .entities
                .iter()
                .filter(move |e| e.entity_type == entity_type)
                .filter_map(|e| e.span)
        };
        spans("city")
            .any(|city| spans("organization").any(|o| o.start <= city.start && city.end <= o.end))
    });
    assert!(nested.count() > 300);
}

#[test]
fn an_unknown_split_is_refused() {
    let error = examples("dev", 0).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the demo corpus has no split `dev`; it has `train`, `validation` and `test`"
    );
}
