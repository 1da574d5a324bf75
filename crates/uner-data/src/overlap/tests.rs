use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::{DataError, Entity, Example};

fn example(id: &str, text: &str, entities: &[(&str, &str)]) -> Example {
    let entity = |(text, entity_type): &(&str, &str)| Entity {
        text: (*text).to_owned(),
        entity_type: (*entity_type).to_owned(),
        span: None,
    };
    Example::new(id.to_owned(), text.to_owned(), entities.iter().map(entity).collect())
}

/// Examples of texts, whose ids are `x0`, `x1`, ….
fn texts<S: AsRef<str>>(texts: &[S]) -> Vec<Example> {
    texts.iter().zip(0..).map(|(text, id)| example(&format!("x{id}"), text.as_ref(), &[])).collect()
}

fn index(benchmark: &[Example]) -> Index {
    Index::new([("benchmark", benchmark.iter().cloned().map(Ok))]).unwrap()
}

fn overlap(benchmark: &[Example], sets: &[Vec<Example>]) -> Overlap {
    let index = index(benchmark);
    let mut scan = index.scan();
    for (set, number) in sets.iter().zip(0..) {
        scan.add(format!("set {number}"), set.iter().cloned().map(Ok)).unwrap();
    }
    scan.overlap(10)
}

/// Compares one benchmark passage with one training passage: exact, with n-gram, covered share.
fn compare(benchmark: &str, training: &str) -> (usize, usize, f64) {
    let found = overlap(&texts(&[benchmark]), &[texts(&[training])]);
    let Shared { num_exact, num_with_ngram, mean_covered, .. } = found.benchmarks[0].merged;
    (num_exact, num_with_ngram, mean_covered)
}

/// `count` words that are in no other text, named after `name`.
fn other(name: &str, count: usize) -> String {
    (0..count).map(|number| format!("{name}{number}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn passages_are_equal_by_their_words() {
    let text = "Zoë’s U.S. trip, in 1999: no (real) surprise!";
    for same in [
        "zoë's U.S. trip in 1999 no real surprise",
        "ZOË ’ S U . S . TRIP , IN\r\n1999 : NO ( REAL ) SURPRISE !",
        "  Zoe\u{308}’s\tU.S.\u{a0}trip — in 1999;\nno “real” surprise",
    ] {
        assert_eq!(compare(text, same), (1, 1, 1.0), "{same}");
    }
    assert_eq!(compare(text, "Zoë’s U.S. trip, in 1998: no (real) surprise!"), (0, 0, 0.0));
    assert_eq!(compare("Rome.", "rome"), (1, 0, 0.0));
    assert_eq!(compare("…", "…"), (0, 0, 0.0));
}

#[test]
fn ngrams_are_found_at_every_border() {
    let shared = other("shared", NGRAM);
    let around = |before, after, name: &str| {
        format!(
            "{} {shared} {}",
            other(&format!("{name}a"), before),
            other(&format!("{name}b"), after)
        )
    };
    for (before, after) in [(0, 0), (0, 5), (5, 0), (2, 3)] {
        for (before_it, after_it) in [(0, 7), (7, 0), (3, 4)] {
            let (benchmark, training) =
                (around(before, after, "x"), around(before_it, after_it, "y"));
            let share = NGRAM as f64 / (before + after + NGRAM) as f64;
            assert_eq!(compare(&benchmark, &training), (0, 1, share));
        }
    }
    let (twelve, _) = shared.rsplit_once(' ').unwrap();
    assert_eq!(compare(&around(1, 1, "x"), twelve), (0, 0, 0.0));
    assert_eq!(compare(&format!("{twelve} x y"), &format!("{twelve} z y")), (0, 0, 0.0));
}

#[test]
fn covered_words_count_once() {
    let shared = other("s", NGRAM + 2);
    assert_eq!(compare(&format!("{shared} x y z"), &format!("a {shared} b")), (0, 1, 15.0 / 18.0));
    let two = format!("{} x {}", other("s", NGRAM), other("t", NGRAM));
    let training = format!("{} {}", other("t", NGRAM), other("s", NGRAM));
    assert_eq!(compare(&two, &training), (0, 1, 26.0 / 27.0));
    let repeated = format!("{0} x {0}", other("s", NGRAM));
    assert_eq!(compare(&repeated, &other("s", NGRAM)), (0, 1, 26.0 / 27.0));
}

#[test]
fn a_short_passage_counts_as_a_whole() {
    for length in SHORTEST..NGRAM {
        let text = other("s", length);
        assert_eq!(compare(&text, &format!("a {text} b")), (0, 1, 1.0), "{length}");
        assert_eq!(compare(&text, &format!("a {text}")), (0, 1, 1.0), "{length}");
        assert_eq!(compare(&text, &other("s", length - 1)), (0, 0, 0.0), "{length}");
        assert_eq!(compare(&format!("{text} x"), &text), (0, 0, 0.0), "{length}");
    }
    let seven = other("s", SHORTEST - 1);
    assert_eq!(compare(&seven, &format!("a {seven} b")), (0, 0, 0.0));
    assert_eq!(compare(&seven, &seven), (1, 0, 0.0));
    let found = overlap(&texts(&[&*seven, &other("s", SHORTEST), "?"]), &[texts(&[&*seven])]);
    assert_eq!((found.benchmarks[0].num_short, found.benchmarks[0].num_words), (2, 15));
}

#[test]
fn ngrams_do_not_cross_passages() {
    let text = other("s", NGRAM);
    let (start, end) = text.split_at(text.find("s6").unwrap());
    let found = overlap(&texts(&[&text]), &[texts(&[start, end])]);
    assert_eq!(found.benchmarks[0].merged.num_with_ngram, 0);
}

#[test]
fn a_character_is_a_word_without_spaces() {
    let text = "北京是中华人民共和国的首都和直辖市";
    assert_eq!(compare(text, "。北京是中华人民共和国的首都和直辖市！"), (1, 1, 1.0));
    assert_eq!(compare(text, "中华人民共和国的首都和直辖"), (0, 1, 13.0 / 17.0));
    assert_eq!(compare(text, "中华人民共和国的首都和直"), (0, 0, 0.0));
}

#[test]
fn entities_are_seen_by_text_and_type() {
    let benchmark = [
        example("a", "", &[("New York", "city"), ("new york", "location"), ("Rome", "city")]),
        example("b", "", &[("Rome", "city"), ("Oslo", "city"), ("Zoë", "Musical_Artist")]),
    ];
    let training = vec![
        example("t", "", &[("NEW YORK", "City"), ("rome", "team"), ("Osl", "city")]),
        example("u", "", &[("ZOË", "musical artist")]),
    ];
    let found = overlap(&benchmark, &[training]);
    let (of, shared) = (&found.benchmarks[0], found.benchmarks[0].merged);
    assert_eq!((of.num_entities, shared.num_entities_seen), (6, 5));
    assert_eq!(shared.num_entities_seen_with_type, 2);
    let types: Vec<(&str, usize, usize, usize)> = of
        .by_type
        .iter()
        .map(|of| (&*of.entity_type, of.num_entities, of.num_seen, of.num_seen_with_type))
        .collect();
    assert_eq!(types, [("city", 4, 3, 1), ("Musical_Artist", 1, 1, 1), ("location", 1, 1, 0)]);
}

#[test]
fn sets_are_merged_and_the_first_passage_is_named() {
    let (first, second) = (other("s", NGRAM), other("t", NGRAM));
    let benchmark = texts(&[format!("{first} {second}"), other("u", 20), first.clone()]);
    let sets = [
        texts(&["nothing", &format!("x {first}")]),
        texts(&[&*second, &first, &first]),
        texts(&[""]),
    ];
    let found = overlap(&benchmark, &sets);
    let of = &found.benchmarks[0];
    assert_eq!(found.training.iter().map(|set| set.num_passages).collect::<Vec<_>>(), [2, 3, 1]);
    assert_eq!(found.training[1].num_words, 39);
    let counts = |shared: &Shared| (shared.num_exact, shared.num_with_ngram, shared.mean_covered);
    assert_eq!(counts(&of.merged), (1, 2, 2.0 / 3.0));
    let by_set: Vec<_> = of.by_training_set.iter().map(counts).collect();
    assert_eq!(by_set, [(0, 2, 0.5), (1, 2, 2.0 / 3.0), (0, 0, 0.0)]);
    let examples: Vec<(&str, bool, &str, &str)> = of
        .examples
        .iter()
        .map(|of| (&*of.id, of.is_exact, &*of.training_set, &*of.training_id))
        .collect();
    assert_eq!(examples, [("x2", true, "set 1", "x1"), ("x0", false, "set 0", "x1")]);
    assert_eq!(of.examples[0].words, first);
}

#[test]
fn the_number_of_threads_and_chunks_changes_nothing() {
    let benchmark = texts(&(0..300).map(|i| other(&format!("w{}", i * 7), 14)).collect::<Vec<_>>());
    let training =
        texts(&(0..2_500).map(|i| other(&format!("w{}", i % 900), 13)).collect::<Vec<_>>());
    let result = |num_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(num_threads).build().unwrap();
        pool.install(|| overlap(&benchmark, std::slice::from_ref(&training)))
    };
    let one = result(1);
    assert_eq!(one.benchmarks[0].merged.num_with_ngram, 129, "0, 7, …, 896");
    assert_eq!(one.training[0].num_passages, 2_500);
    assert_eq!(one, result(3));
}

#[test]
fn the_first_error_is_returned() {
    let error = || {
        let (dataset, split, files) = ("d".to_owned(), "s".to_owned(), String::new());
        Err(DataError::Empty { dataset, split, files })
    };
    assert!(Index::new([("b", [error()])]).is_err());
    let index = index(&texts(&["a"]));
    let items = (0..1_500).map(|i| if i == 1_200 { error() } else { Ok(example("i", "a", &[])) });
    assert!(index.scan().add("t", items.collect::<Vec<_>>()).is_err());
}

#[test]
fn nothing_is_no_panic() {
    let found = overlap(&[], &[]);
    assert_eq!(found.benchmarks[0].merged.mean_covered, 0.0);
    assert!(found.to_string().contains("0 (0.0 %)"));
    let none: [(&str, Vec<Result<Example, DataError>>); 0] = [];
    assert!(Index::new(none).unwrap().scan().overlap(1).benchmarks.is_empty());
}

#[test]
fn the_tables_and_the_json_have_the_counts() {
    let text = other("s", NGRAM);
    let benchmark = [example("b\n1", &format!("x {text}"), &[("Rome", "city"), ("Oslo", "city")])];
    let training = [
        vec![example("t1", &format!("{text} y"), &[("Rome", "city")])],
        vec![example("t2", "z", &[("Oslo", "team")])],
    ];
    let found = overlap(&benchmark, &training);
    let table = found.to_string();
    for row in [
        "training set    passages         words    entities",
        "set 0                  1            14           1",
        "benchmark  passages   short            exact      with n-gram  covered",
        "benchmark         1       0        0 (0.0 %)      1 (100.0 %)   92.9 %",
        "  in set 1        1       0        0 (0.0 %)        0 (0.0 %)    0.0 %",
        "benchmark         2      2 (100.0 %)       1 (50.0 %)",
        "b\\n1 (93 %) is in set 0, t1: s0 s1 s2",
    ] {
        assert!(table.contains(row), "{row}\n{table}");
    }
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Overlap>(&json).unwrap(), found);
}

/// The counts of one benchmark by their definition: exact, with n-gram, covered words of each
/// passage.
fn by_definition(benchmark: &[Vec<u8>], training: &[Vec<u8>]) -> (usize, usize, Vec<usize>) {
    let all: HashSet<&[u8]> = training
        .iter()
        .flat_map(|words| (SHORTEST..=NGRAM).flat_map(|length| words.windows(length)))
        .collect();
    let exact = benchmark.iter().filter(|words| !words.is_empty() && training.contains(words));
    let covered = benchmark.iter().map(|words| {
        let length = words.len().clamp(SHORTEST, NGRAM);
        let mut covered = vec![false; words.len()];
        for (start, ngram) in words.windows(length).enumerate() {
            if all.contains(ngram) {
                covered[start..start + length].fill(true);
            }
        }
        covered.into_iter().filter(|is_covered| *is_covered).count()
    });
    let covered: Vec<usize> = covered.collect();
    (exact.count(), covered.iter().filter(|count| **count > 0).count(), covered)
}

/// Passages over two words, so that n-grams repeat and overlap.
fn passages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let words = prop::collection::vec(prop::bool::weighted(0.2).prop_map(u8::from), 0..30);
    prop::collection::vec(words, 1..6)
}

proptest! {
    #[test]
    fn counts_are_those_of_the_definition(
        benchmark in passages(),
        training in passages(),
        seed in any::<u64>(),
    ) {
        // Each spelling of a word, and each separator, is the same to the comparison.
        let text = |words: &Vec<u8>, start: u64| -> String {
            let words = words.iter().zip(start..);
            words.flat_map(|(word, at)| {
                let spelling = [["the", "The", "THE"], ["café", "CAFÉ", "Cafe\u{301}"]];
                let separator = [" ", "\r\n", ", ", " — "][(at % 4) as usize];
                [spelling[usize::from(*word)][(at % 3) as usize], separator]
            }).collect()
        };
        let texts = |all: &[Vec<u8>], start: u64| {
            texts(&all.iter().map(|words| text(words, start)).collect::<Vec<_>>())
        };
        let found = overlap(&texts(&benchmark, seed >> 32), &[texts(&training, seed >> 33)]);
        let (exact, with_ngram, covered) = by_definition(&benchmark, &training);
        let Shared { num_exact, num_with_ngram, mean_covered, .. } = found.benchmarks[0].merged;
        prop_assert_eq!((num_exact, num_with_ngram), (exact, with_ngram));
        let long = benchmark.iter().zip(covered).filter(|(words, _)| words.len() >= SHORTEST);
        let shares: Vec<f64> =
            long.map(|(words, covered)| covered as f64 / words.len() as f64).collect();
        let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        prop_assert!((mean_covered - mean).abs() < 1e-12);
    }
}
