use std::{ops::ControlFlow, path::Path};

use proptest::prelude::*;
use tempfile::TempDir;
use uner_data::{Span, is_blank};

use super::{
    cut::{Piece, cut},
    *,
};
use crate::folder::Passages;

/// A word is a token.
fn at_most(count: usize) -> impl Fn(&str) -> bool + Sync {
    move |text| text.split_whitespace().count() <= count
}

fn config(toml: &str, folder: &Path) -> CorpusConfig {
    toml::from_str::<CorpusConfig>(toml).unwrap().relative_to(folder)
}

fn sampled(toml: &str, seed: u64, folder: &TempDir) -> Sampled {
    let config = config(toml, folder.path());
    sample_passages(&config, seed, at_most(20), &mut |_| ControlFlow::Continue(())).unwrap()
}

fn ids(sampled: &Sampled) -> Vec<&str> {
    sampled.passages.iter().map(|passage| passage.id.as_str()).collect()
}

fn counts(sampled: &Sampled) -> Vec<(&str, usize)> {
    sampled.summary.subsets.iter().map(|(name, s)| (name.as_str(), s.sampled)).collect()
}

/// Three files with 60, 30 and 10 documents of one passage each.
fn three_subsets() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, count) in [("a", 60), ("b", 30), ("c", 10)] {
        let row = |at: usize| format!("{{\"text\": \"Document {at} of {name} is short.\"}}\n");
        let rows: String = (0..count).map(row).collect();
        fs_err::write(folder.path().join(format!("{name}.jsonl")), rows).unwrap();
    }
    folder
}

const THREE: &str =
    "[subsets]\na.paths = ['a.jsonl']\nb.paths = ['b.jsonl']\nc.paths = ['c.jsonl']";

#[test]
fn quotas_are_exact() {
    let folder = three_subsets();
    let of = |sample: &str| {
        let sampled = sampled(&format!("sample = {{ {sample} }}\n{THREE}"), 1, &folder);
        counts(&sampled).into_iter().map(|(_, count)| count).collect::<Vec<_>>()
    };
    assert_eq!(of("passages = 10"), [6, 3, 1]);
    assert_eq!(of("passages = 15"), [9, 5, 1]);
    assert_eq!(of("passages = 30, weights = { a = 1, b = 1, c = 1 }"), [10, 10, 10]);
    assert_eq!(of("passages = 60, weights = { a = 1, b = 1, c = 1 }"), [25, 25, 10]);
    assert_eq!(of("passages = 100"), [60, 30, 10]);
    assert_eq!(of("passages = 1000"), [60, 30, 10]);
    assert_eq!(of("passages = 99, weights = { a = 1, b = 9, c = 90 }"), [59, 30, 10]);
}

#[test]
fn the_seed_decides_and_samples_grow() {
    let folder = three_subsets();
    let of = |passages: usize, seed: u64| {
        let toml = format!("sample = {{ passages = {passages} }}\n{THREE}");
        sampled(&toml, seed, &folder)
    };
    let (one, again, two) = (of(20, 1), of(20, 1), of(20, 2));
    assert_eq!(one, again);
    assert_ne!(ids(&one), ids(&two));
    let larger = of(40, 1);
    assert!(ids(&one).iter().all(|id| ids(&larger).contains(id)));
    // The passages are not in the order of the corpus: the first ones are a sample, too.
    let first: Vec<&str> = one.passages[..10].iter().map(|p| p.subset.as_str()).collect();
    assert!(first.contains(&"a") && first.contains(&"b"), "{first:?}");
    assert!(!ids(&one).is_sorted());
}

#[test]
fn every_passage_is_equally_likely() {
    let folder = three_subsets();
    let toml = "sample = { passages = 5 }\n[subsets.c]\npaths = ['c.jsonl']";
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..1_000 {
        for id in ids(&sampled(toml, seed, &folder)) {
            *counts.entry(id.to_owned()).or_insert(0) += 1;
        }
    }
    // 500 expected with a standard deviation of 16.
    assert_eq!(counts.len(), 10);
    assert!(counts.values().all(|count| (420..580).contains(count)), "{counts:?}");
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    // More than a chunk, with duplicates in other chunks.
    let row = |at: usize| {
        let words: Vec<String> = (0..40).map(|word| format!("w{}x{word}", at % 6_000)).collect();
        format!("{{\"text\": \"{} . End.\"}}\n", words.join(" "))
    };
    let rows: String = (0..9_000).map(row).collect();
    fs_err::write(folder.path().join("x.jsonl"), rows).unwrap();
    let toml = "duplicates = {}\nsample = { passages = 500 }\n[subsets.x]\npaths = ['x.jsonl']";
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| sampled(toml, 3, &folder))
    };
    let one = with(1);
    let total = one.summary.total();
    assert_eq!((total.documents, total.sampled), (9_000, 500));
    // `End.` is one passage in all, and a third of the others are repeated.
    assert_eq!(total.distinct(), 1 + 2 * 6_000);
    for threads in [2, 5] {
        assert_eq!(with(threads), one, "{threads} threads");
    }
}

#[test]
fn the_first_of_similar_passages_stays_whatever_its_subset() {
    let folder = tempfile::tempdir().unwrap();
    let words = |changed: &str| {
        let words: Vec<String> = (0..90).map(|at| format!("word{at}")).collect();
        words.join(" ").replace("word45", changed)
    };
    let row = |text: &str| format!("{}\n", serde_json::json!({ "text": text }));
    let a = [words("word45"), words("WORD45"), words("another")].map(|text| row(&text)).concat();
    let far = words("word45").replace("word1", "other");
    let b = [words("different"), far, "Something else.".to_owned()].map(|text| row(&text)).concat();
    fs_err::write(folder.path().join("a.jsonl"), a).unwrap();
    fs_err::write(folder.path().join("b.jsonl"), b).unwrap();
    let subsets = "[subsets]\na.paths = ['a.jsonl']\nb.paths = ['b.jsonl']";
    let of = |duplicates: &str| {
        let config = config(&format!("{duplicates}\n{subsets}"), folder.path());
        let sampled =
            sample_passages(&config, 0, at_most(100), &mut |_| ControlFlow::Continue(())).unwrap();
        let mut found: Vec<String> =
            sampled.passages.iter().map(|passage| passage.id.clone()).collect();
        found.sort();
        (found, sampled.summary)
    };
    let (found, summary) = of("duplicates = {}");
    assert_eq!(found, ["a/a.jsonl:1:0", "b/b.jsonl:2:0", "b/b.jsonl:3:0"]);
    assert_eq!((summary.subsets["a"].duplicates, summary.subsets["b"].duplicates), (2, 1));
    let (found, summary) = of("duplicates = { jaccard = 1.0 }");
    assert_eq!(found.len(), 5);
    assert_eq!(summary.total().duplicates, 1);
    assert_eq!(of("").0.len(), 6);
}

#[test]
fn everything_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "{\"text\": \"Ada came. Zoë left.\"}\n{\"text\": \" \\n\"}\n{\"text\": \"\"}\nx\n\
                {\"text\": \"Hm\"}\n";
    fs_err::create_dir(folder.path().join("s")).unwrap();
    fs_err::write(folder.path().join("s/x.jsonl"), rows).unwrap();
    fs_err::write(folder.path().join("s/notes.doc"), "").unwrap();
    fs_err::write(folder.path().join("empty.txt"), "").unwrap();
    let toml = "min_characters = 3\n[subsets]\ns.paths = ['s']\ne.paths = ['empty.txt']";
    let mut progress = Vec::new();
    let config = config(toml, folder.path());
    let Sampled { passages, summary } = sample_passages(&config, 0, at_most(2), &mut |now| {
        progress.push(now);
        ControlFlow::Continue(())
    })
    .unwrap();
    let expected = SubsetSummary {
        documents: 4,
        blank: 2,
        unreadable: 1,
        characters: 23,
        passages: 3,
        too_short: 1,
        duplicates: 0,
        sampled: 2,
        sampled_characters: 18,
    };
    assert_eq!(summary.subsets["s"], expected);
    let empty = SubsetSummary { documents: 1, blank: 1, ..SubsetSummary::default() };
    assert_eq!(summary.subsets["e"], empty);
    assert_eq!(summary.total(), SubsetSummary { documents: 5, blank: 3, ..expected });
    assert_eq!(summary.ignored_files, [folder.path().join("s/notes.doc")]);
    assert!(summary.problems[0].contains("x.jsonl:4"), "{:?}", summary.problems);
    let mut shown: Vec<_> = passages.iter().map(|p| (&*p.id, &*p.text, &*p.document)).collect();
    shown.sort_unstable();
    assert_eq!(
        shown,
        [("s/x.jsonl:1:0", "Ada came.", "x.jsonl:1"), ("s/x.jsonl:1:10", "Zoë left.", "x.jsonl:1")]
    );
    let last = progress.last().unwrap();
    assert_eq!((last.num_documents, last.num_passages), (5, 3));
    assert_eq!(last.num_bytes_read, last.num_bytes);
}

#[test]
fn what_cannot_be_sampled_is_an_error() {
    let folder = three_subsets();
    let message = |toml: &str, fits: fn(&str) -> bool, flow: ControlFlow<()>| {
        let config = config(&format!("{toml}\n{THREE}"), folder.path());
        sample_passages(&config, 0, fits, &mut |_| flow).unwrap_err().to_string()
    };
    let all: fn(&str) -> bool = |_| true;
    let go_on = ControlFlow::Continue(());
    let weights = message("sample = { weights = { a = 1, bb = 1 } }", all, go_on);
    assert!(weights.contains("no weight of the subset `b`"), "{weights}");
    assert!(weights.contains("did you mean `bb`?"), "{weights}");
    let none = message("", |_| false, go_on);
    assert!(none.contains("document `a.jsonl:1` of subset `a`: not even one character"), "{none}");
    assert_eq!(message("", all, ControlFlow::Break(())), "the corpus was not read to its end");
}

#[test]
fn passages_are_written_and_read_back() {
    let folder = three_subsets();
    let sampled = sampled(THREE, 0, &folder);
    let path = folder.path().join("passages.jsonl");
    write_passages(&path, &sampled.passages).unwrap();
    let read: Result<Vec<Passage>, _> = Passages::open(&path).unwrap().collect();
    assert_eq!(read.unwrap(), sampled.passages);
    write_passages(&path, &[]).unwrap();
    assert_eq!(Passages::open(&path).unwrap().count(), 0);
    let names = fs_err::read_dir(folder.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.contains("passages")).count(), 1);
    assert!(write_passages(&folder.path().join("none/x.jsonl"), &[]).is_err());
}

#[test]
fn long_texts_without_sentence_ends_are_cut_at_words_and_inside_them() {
    let text = "woord ".repeat(20_000);
    let pieces = cut(&text, at_most(256)).unwrap();
    assert_eq!(pieces.len(), 20_000_usize.div_ceil(256));
    assert!(pieces.iter().all(|piece| text[piece.bytes.clone()].ends_with("woord")));
    // One word is a token, but a passage has at most 64 KiB.
    let pieces = cut(&"é".repeat(100_000), at_most(256)).unwrap();
    let lengths: Vec<usize> = pieces.iter().map(Piece::num_characters).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 100_000);
    assert!(lengths.iter().all(|length| 2 * length <= 1 << 16), "{lengths:?}");
}

/// Asserts that passages are slices of the text, in order, and have all of it but white space.
fn assert_covered(text: &str, pieces: &[Piece], fits: impl Fn(&str) -> bool) {
    let mut end = Span { start: 0, end: 0 };
    let mut byte = 0;
    for piece in pieces {
        let passage = &text[piece.bytes.clone()];
        assert_eq!(piece.span.slice(text), Some(passage));
        assert!(fits(passage) && passage.trim_matches(is_blank) == passage && !passage.is_empty());
        assert!(piece.span.start >= end.end && piece.bytes.start >= byte);
        assert!(text[byte..piece.bytes.start].chars().all(is_blank), "text between passages");
        (end, byte) = (piece.span, piece.bytes.end);
    }
    assert!(text[byte..].chars().all(is_blank), "text behind the passages");
}

proptest! {
    #[test]
    fn passages_are_slices_that_cover_their_document_in_order(
        text in "([a-zé日🚀]{1,9}[ .\\n\u{200b}\u{301}]{1,3}){0,60}", limit in 1_usize..12,
    ) {
        // Characters, so that words are cut, too.
        let fits = |text: &str| text.chars().count() <= 4 * limit;
        assert_covered(&text, &cut(&text, fits).unwrap(), fits);
        let fits = at_most(limit);
        assert_covered(&text, &cut(&text, &fits).unwrap(), &fits);
    }
}
