//! The overlap of published training and test sets has the counts of an independent count: Python,
//! with words as sets of tuples, on its own reading of the files.

use uner_data::{
    overlap::{Index, Overlap, Shared},
    read, registry,
};

use crate::shared::shared;

const CROSSNER: [&str; 5] = ["ai", "literature", "music", "politics", "science"];

/// A test set: its name, words, passages too short for n-grams, and its overlap with training data:
/// exact passages, passages with an n-gram, covered share, and entities seen, without and with
/// type.
type Row = (&'static str, usize, usize, [usize; 2], f64, [usize; 2]);

/// Against the training split of the same dataset.
const OWN: [Row; 7] = [
    ("crossner-ai", 11_354, 9, [0, 2], 0.001_996_718, [456, 444]),
    ("crossner-literature", 14_002, 3, [0, 0], 0.0, [294, 286]),
    ("crossner-music", 16_691, 1, [6, 7], 0.013_873_922, [516, 512]),
    ("crossner-politics", 24_356, 0, [0, 3], 0.002_114_616, [688, 683]),
    ("crossner-science", 16_966, 1, [1, 5], 0.006_614_266, [456, 443]),
    ("mit-restaurant", 14_256, 500, [0, 2], 0.001_958_864, [2_372, 2_338]),
    ("mit-movie", 24_685, 709, [24, 5], 0.002_883_506, [4_246, 4_178]),
];

/// Against the training splits of all five domains of CrossNER.
const ALL: [Row; 5] = [
    ("crossner-ai", 11_354, 9, [0, 2], 0.001_996_718, [482, 465]),
    ("crossner-literature", 14_002, 3, [0, 0], 0.0, [377, 343]),
    ("crossner-music", 16_691, 1, [6, 7], 0.013_873_922, [647, 620]),
    ("crossner-politics", 24_356, 0, [0, 3], 0.002_114_616, [796, 768]),
    ("crossner-science", 16_966, 1, [2, 6], 0.008_459_284, [527, 501]),
];

fn overlap(root: &std::path::Path, training: &[String], benchmarks: &[String]) -> Overlap {
    let open = |name: &String, split| {
        let dataset = registry::find(name).unwrap();
        (format!("{name}:{split}"), read(&dataset, split, root).unwrap())
    };
    let index = Index::new(benchmarks.iter().map(|name| open(name, "test"))).unwrap();
    let mut scan = index.scan();
    for name in training {
        let (name, examples) = open(name, "train");
        scan.add(name, examples).unwrap();
    }
    scan.overlap(10)
}

fn compare(found: &Overlap, benchmark: usize, shared: &Shared, row: &Row) {
    let (name, num_words, num_short, [exact, with_ngram], covered, [seen, typed]) = *row;
    let of = &found.benchmarks[benchmark];
    assert_eq!(
        (&*of.name, of.num_words, of.num_short),
        (&*format!("{name}:test"), num_words, num_short)
    );
    assert_eq!((shared.num_exact, shared.num_with_ngram), (exact, with_ngram), "{name}");
    assert!((shared.mean_covered - covered).abs() < 1e-9, "{name}: {}", shared.mean_covered);
    let entities = (shared.num_entities_seen, shared.num_entities_seen_with_type);
    assert_eq!(entities, (seen, typed), "{name}");
    let sum = |count: fn(&uner_data::overlap::TypeOverlap) -> usize| -> usize {
        of.by_type.iter().map(count).sum()
    };
    assert_eq!(sum(|of| of.num_entities), of.num_entities);
    assert_eq!(sum(|of| of.num_seen), of.merged.num_entities_seen);
    assert_eq!(of.examples.len(), of.merged.num_with_ngram.max(of.merged.num_exact).min(10));
}

#[test]
fn test_sets_overlap_with_their_training_sets() {
    let Some(root) = shared("data") else { return };
    for row in &OWN {
        let name = row.0.to_owned();
        let found = overlap(&root, std::slice::from_ref(&name), std::slice::from_ref(&name));
        compare(&found, 0, &found.benchmarks[0].merged, row);
        assert_eq!(found.benchmarks[0].by_training_set, [found.benchmarks[0].merged]);
    }
}

#[test]
fn training_sets_are_merged() {
    let Some(root) = shared("data") else { return };
    let names = CROSSNER.map(|domain| format!("crossner-{domain}"));
    let found = overlap(&root, &names, &names);
    for (number, (all, own)) in ALL.iter().zip(&OWN).enumerate() {
        let of = &found.benchmarks[number];
        compare(&found, number, &of.merged, all);
        compare(&found, number, &of.by_training_set[number], own);
    }
    let music = &found.benchmarks[2].examples;
    assert!(music[..6].iter().all(|example| example.is_exact) && !music[6].is_exact);
    assert!(music.iter().all(|example| example.training_set == "crossner-music:train"));
}
