//! Indexes benchmarks of a million words and compares generated training passages with them.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p uner-benches --bench overlap` prints one line of JSON.
//! Texts are generated before the clock starts, so reading files is not measured. One passage in a
//! hundred is one of the benchmark. The benchmark's passages are dropped before memory is measured.

use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uner_benches::peak_rss_mib;
use uner_data::{Example, overlap::Index};

const BENCHMARK_PASSAGES: usize = 40_000;
const BENCHMARK_WORDS: usize = 25;
const TRAINING_PASSAGES: usize = 100_000;
const TRAINING_WORDS: usize = 170;

const SYLLABLES: [&str; 24] = [
    "an", "ber", "ca", "do", "el", "fin", "ga", "hor", "in", "jo", "ka", "lim", "mon", "ner", "or",
    "pra", "qui", "ras", "sto", "ter", "un", "vi", "wal", "zen",
];

/// A text of words with two syllables on average, and a comma after every tenth.
fn text(rng: &mut ChaCha8Rng, num_words: usize) -> String {
    let word = |number: usize| {
        let count = rng.random_range(1..4);
        let word: String =
            (0..count).map(|_| SYLLABLES[rng.random_range(0..SYLLABLES.len())]).collect();
        if number.is_multiple_of(10) { format!("{word},") } else { word }
    };
    (1..=num_words).map(word).collect::<Vec<_>>().join(" ")
}

fn passage(seed: u64, num_words: usize) -> Example {
    let text = text(&mut ChaCha8Rng::seed_from_u64(seed), num_words);
    Example::new(seed.to_string(), text, Vec::new())
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() {
    let before = peak_rss_mib();
    let start = Instant::now();
    let benchmark = (0..BENCHMARK_PASSAGES as u64).map(|seed| Ok(passage(seed, BENCHMARK_WORDS)));
    let index = Index::new([("generated", benchmark)]).expect("no errors");
    let indexed = start.elapsed().as_secs_f64();
    let after = peak_rss_mib();
    let training: Vec<Example> = (0..TRAINING_PASSAGES as u64)
        .map(|number| match number % 100 {
            0 => passage(number / 100, BENCHMARK_WORDS),
            _ => passage((1 << 32) + number, TRAINING_WORDS),
        })
        .collect();
    let num_bytes: usize = training.iter().map(|example| example.text.len()).sum();

    let start = Instant::now();
    let mut scan = index.scan();
    scan.add("generated", training.into_iter().map(Ok)).expect("no errors");
    let seconds = start.elapsed().as_secs_f64();
    let overlap = scan.overlap(10);
    assert_eq!(overlap.benchmarks[0].merged.num_exact, TRAINING_PASSAGES / 100);
    println!(
        "{}",
        serde_json::json!({
            "threads": rayon::current_num_threads(),
            "benchmark_words": overlap.benchmarks[0].num_words,
            "generate_and_index_seconds": indexed,
            "peak_rss_before_mib": before,
            "peak_rss_after_index_mib": after,
            "training_bytes": num_bytes,
            "training_words": overlap.training[0].num_words,
            "megabytes_per_second": num_bytes as f64 / 1e6 / seconds,
            "words_per_second": overlap.training[0].num_words as f64 / seconds,
        })
    );
}
