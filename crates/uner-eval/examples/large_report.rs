//! Writes made-up answers for every dataset of the Universal NER benchmark, scores them, writes the
//! page, and opens it in Chromium: how long each takes, for as many queries as the paper has.
//!
//! ```sh
//! cargo run --release -p uner-eval --example large_report -- DIR [QUERIES]
//! ```

#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use uner_data::{Dataset, Entity, FoundEntity, Span, registry};
use uner_eval::record::{Record, RecordFile};
use uner_eval::{Answer, Measured, folder, page};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Queries of each dataset (§5.1 of the paper).
const QUERIES: usize = 200_000;
const WORDS: [&str; 12] = [
    "river", "Anna", "signal", "北京", "Lagos", "protein", "عمان", "Bertha", "engine", "court",
    "Zoë", "melody",
];
/// Words of a passage.
const LENGTH: usize = 25;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = arguments.first().map(PathBuf::from) else {
        return Err("usage: large_report DIR [QUERIES]".into());
    };
    let queries = arguments.get(1).map_or(Ok(QUERIES), |number| number.parse())?;
    let start = Instant::now();
    write_answers(&folder, queries)?;
    println!("answers written in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let report = folder::rescore(&folder, None)?;
    println!("scored in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let path = page::write(&folder, &report)?;
    let (seconds, bytes) = (start.elapsed().as_secs_f64(), fs_err::metadata(&path)?.len());
    println!("page of {bytes} bytes written in {seconds:.3} s");
    println!("opened (load event) after {} ms", opened(&path)?);
    Ok(())
}

fn write_answers(folder: &Path, queries: usize) -> Result<()> {
    fs_err::create_dir_all(folder.join("predictions"))?;
    let mut benchmarks = serde_json::Map::new();
    for (seed, dataset) in registry::in_list("universal-43")?.into_iter().enumerate() {
        let name = format!("{}-test.jsonl", dataset.name);
        let path = folder.join("predictions").join(&name);
        let measured = write_dataset(&path, &dataset, queries, seed as u64)?;
        benchmarks.insert(name, serde_json::to_value(measured)?);
    }
    let evaluation = serde_json::json!({ "system": "made-up answers", "benchmarks": benchmarks });
    Ok(fs_err::write(folder.join("evaluation.json"), evaluation.to_string())?)
}

fn write_dataset(path: &Path, dataset: &Dataset, queries: usize, seed: u64) -> Result<Measured> {
    let mut types: Vec<String> = dataset.entity_types().into_iter().map(str::to_owned).collect();
    if types.is_empty() {
        types = ["person", "location", "organization"].map(str::to_owned).into();
    }
    let examples = queries / types.len();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut file = RecordFile::create(path)?;
    for index in 0..examples {
        file.write(&record(&dataset.name, &types, index, &mut random))?;
    }
    file.finish()?;
    Ok(Measured {
        dataset: dataset.name.clone(),
        split: "test".to_owned(),
        domain: dataset.domain.clone(),
        entity_types: types,
        examples,
        sample: None,
        is_part: false,
    })
}

fn record(dataset: &str, types: &[String], index: usize, random: &mut ChaCha8Rng) -> Record {
    let words: Vec<&str> =
        (0..LENGTH).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect();
    let text = words.join(" ");
    let (mut gold, mut found) = (Vec::new(), Vec::new());
    for first in (0..LENGTH - 2).step_by(5) {
        let entity_type = &types[random.random_range(0..types.len())];
        let other = &types[random.random_range(0..types.len())];
        let [one, two] = [1, 2].map(|count| mention(&words, first, count));
        // Correct, a wrong boundary, possibly another type, missed, spurious.
        let (right, wrong) = match random.random_range(0..10) {
            0..=4 => (Some((one.clone(), entity_type)), Some((one, entity_type))),
            5 => (Some((two, entity_type)), Some((one, entity_type))),
            6 => (Some((one.clone(), entity_type)), Some((one, other))),
            7 | 8 => (Some((one, entity_type)), None),
            _ => (None, Some((one, entity_type))),
        };
        gold.extend(right.map(entity));
        found.extend(wrong.map(entity));
    }
    let answer = |entity_type: &String| {
        let own = found.iter().filter(|entity| &entity.entity_type == entity_type);
        let own = own.map(|entity| FoundEntity { entity: entity.clone(), probability: Some(0.75) });
        Answer::of_entities(entity_type, own.collect())
    };
    Record {
        dataset: dataset.to_owned(),
        split: "test".to_owned(),
        id: format!("{dataset}-{index}"),
        gold,
        gold_relations: Vec::new(),
        answers: types.iter().map(answer).collect(),
        text,
    }
}

/// Some words of a text, and their characters.
fn mention(words: &[&str], first: usize, count: usize) -> (String, Span) {
    let before: usize = words[..first].iter().map(|word| word.chars().count() + 1).sum();
    let text = words[first..first + count].join(" ");
    let span = Span { start: before, end: before + text.chars().count() };
    (text, span)
}

fn entity(((text, span), entity_type): ((String, Span), &String)) -> Entity {
    Entity { text, entity_type: entity_type.clone(), span: Some(span) }
}

/// Milliseconds until Chromium has loaded a copy of the page, which reports them as its title. The
/// copy has no policy, because that allows no other script.
fn opened(path: &Path) -> Result<f64> {
    let page = fs_err::read_to_string(path)?.replacen("Content-Security-Policy", "none", 1);
    let script = "<script>addEventListener('load', () => setTimeout(() => { document.title = \
                  'LOADED ' + performance.getEntriesByType('navigation')[0].loadEventEnd; }));\
                  </script></head>";
    let copy = path.with_file_name("report-timed.html");
    fs_err::write(&copy, page.replacen("</head>", script, 1))?;
    let profile = tempfile::tempdir()?;
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--timeout=20000"])
        .args(["--dump-dom", "--disable-background-networking", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(fs_err::canonicalize(&copy)?)
        .output()
        .map_err(|error| format!("cannot start `chromium`: {error}"))?;
    let document = String::from_utf8_lossy(&output.stdout);
    let time = document.split("LOADED ").nth(1).and_then(|rest| rest.split('<').next());
    Ok(time.ok_or("the page has not loaded")?.parse()?)
}
