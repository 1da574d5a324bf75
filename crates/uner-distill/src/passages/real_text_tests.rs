//! Real text, and a measurement.

use std::{
    collections::BTreeSet,
    fmt::Write,
    io::Write as _,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use uner_data::is_blank;

use crate::{CorpusConfig, Sampled, sample_passages};

/// A folder of published material: from `UNER_SHARED`, else from `shared` next to the repository.
/// If it is missing, the test says so on stderr and returns, or fails with `UNER_REQUIRE_SHARED=1`.
fn shared(path: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let root =
        std::env::var_os("UNER_SHARED").map_or_else(|| repository.join("shared"), PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    let missing = format!("`{}` does not exist; set UNER_SHARED to its folder", found.display());
    let required = std::env::var("UNER_REQUIRE_SHARED").is_ok_and(|value| value == "1");
    assert!(!required, "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}

/// The texts of a file of columns: words with blanks between them, a line for each sentence.
fn texts(path: &Path, separator: char, sentences_per_text: usize) -> Vec<String> {
    let rows = fs_err::read_to_string(path).unwrap();
    let (mut texts, mut text, mut sentences) = (Vec::new(), String::new(), 0);
    for row in rows.lines() {
        let word = row.split(separator).next().unwrap_or_default();
        if word == "-DOCSTART-" {
            continue;
        }
        if !word.is_empty() {
            text.push_str(word);
            text.push(' ');
        } else if !text.ends_with('\n') && !text.is_empty() {
            text.push('\n');
            sentences += 1;
            if sentences == sentences_per_text {
                texts.push(std::mem::take(&mut text));
                sentences = 0;
            }
        }
    }
    texts.push(text);
    texts
}

/// The texts of filings to the SEC, and of Wikipedia.
fn real_texts() -> Option<[Vec<String>; 2]> {
    let filings = texts(&shared("data/e-ner/all.csv")?, ',', 40);
    let wikigold = shared("data/wikigold/CONLL-format/data/wikigold.conll.txt")?;
    Some([filings, texts(&wikigold, ' ', 10)])
}

fn write_rows(path: &Path, texts: &[String]) {
    let row = |text: &String| format!("{}\n", serde_json::json!({ "text": text }));
    fs_err::write(path, texts.iter().map(row).collect::<String>()).unwrap();
}

fn shingles(text: &str) -> BTreeSet<String> {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.windows(5).map(|words| words.join(" ")).collect()
}

fn jaccard(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let common = a.intersection(b).count();
    common as f64 / (a.len() + b.len() - common) as f64
}

#[test]
fn passages_of_real_text_cover_it_and_the_drawn_ones_are_not_similar() {
    let Some([filings, wikipedia]) = real_texts() else { return };
    let folder = tempfile::tempdir().unwrap();
    write_rows(&folder.path().join("filings.jsonl"), &filings);
    write_rows(&folder.path().join("wikipedia.jsonl"), &wikipedia);
    let read = |duplicates: &str| -> Sampled {
        let toml = format!(
            "{duplicates}\n[subsets]\nfilings.paths = ['filings.jsonl']\n\
             wikipedia.paths = ['wikipedia.jsonl']"
        );
        let config: CorpusConfig = toml::from_str(&toml).unwrap();
        let fits = |text: &str| text.split_whitespace().count() <= 120;
        let config = config.relative_to(folder.path());
        sample_passages(&config, 5, fits, &mut |_| ControlFlow::Continue(())).unwrap()
    };

    let mut all = read("").passages;
    let order = |subset: &str, document: &str, start: usize| {
        let line: usize = document.rsplit(':').next().unwrap().parse().unwrap();
        (subset.to_owned(), line, start)
    };
    all.sort_by_key(|p| order(&p.subset, &p.document, p.span.start));
    let filled = |text: &str| text.chars().filter(|c| !is_blank(*c)).collect::<String>();
    let corpus: String = filings.iter().chain(&wikipedia).map(|text| filled(text)).collect();
    assert!(corpus.len() > 1_000_000 && all.len() > 2_000, "{} {}", corpus.len(), all.len());
    assert_eq!(all.iter().map(|passage| filled(&passage.text)).collect::<String>(), corpus);

    let drawn = read("duplicates = {}");
    let distinct: BTreeSet<&str> = drawn.passages.iter().map(|p| p.id.as_str()).collect();
    let total = drawn.summary.total();
    assert_eq!(total.passages, all.len());
    assert_eq!(distinct.len(), all.len() - total.duplicates);
    let sets: Vec<_> = all.iter().map(|passage| shingles(&passage.text)).collect();
    let (mut left, mut num_duplicates) = (Vec::<usize>::new(), 0);
    for (at, passage) in all.iter().enumerate() {
        let is_distinct = distinct.contains(passage.id.as_str());
        // A few words are similar by chance, and words are counted otherwise here.
        if sets[at].len() <= 20 {
            left.extend(is_distinct.then_some(at));
            continue;
        }
        let similar = left.iter().map(|&other| jaccard(&sets[at], &sets[other]));
        let most = similar.fold(0.0, f64::max);
        if is_distinct {
            // Four standard deviations above the threshold.
            assert!(most < 0.92, "`{}` is similar to one before it: {most}", passage.id);
            left.push(at);
        } else {
            assert!(most > 0.65, "`{}` is similar to none before it: {most}", passage.id);
            num_duplicates += 1;
        }
    }
    assert!(num_duplicates > 10, "{num_duplicates}");
    eprintln!("{} passages, {} duplicates", all.len(), total.duplicates);
}

/// Peak resident memory in MiB.
fn peak() -> usize {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() / 1024
}

#[test]
#[ignore = "a measurement: run alone, in release"]
fn throughput_and_memory_of_300_mb() {
    let Some([filings, wikipedia]) = real_texts() else { return };
    let sentences: Vec<&str> =
        filings.iter().chain(&wikipedia).flat_map(|text| text.lines()).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let mut out = std::io::BufWriter::new(fs_err::File::create(&path).unwrap());
    let (mut num_bytes, mut state) = (0, 1_u64);
    // Sentences in random order: passages of the same text are rare.
    while num_bytes < 300 << 20 {
        let mut text = String::new();
        while text.len() < 20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            writeln!(text, "{}", sentences[(state >> 33) as usize % sentences.len()]).unwrap();
        }
        num_bytes += text.len();
        writeln!(out, "{}", serde_json::json!({ "text": text })).unwrap();
    }
    out.into_inner().unwrap();
    for duplicates in ["", "duplicates = {}\n"] {
        let toml = format!("{duplicates}[subsets]\nx.paths = ['x.jsonl']");
        let config: CorpusConfig = toml::from_str(&toml).unwrap();
        let (before, start) = (peak(), Instant::now());
        let fits = |text: &str| text.len() <= 1_000;
        let config = config.relative_to(folder.path());
        let sampled =
            sample_passages(&config, 0, fits, &mut |_| ControlFlow::Continue(())).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let total = sampled.summary.total();
        eprintln!(
            "{duplicates:?}: {:.1} MB/s, {} passages, {} duplicates, peak {before} -> {} MiB",
            num_bytes as f64 / 1e6 / seconds,
            total.passages,
            total.duplicates,
            peak()
        );
    }
}
