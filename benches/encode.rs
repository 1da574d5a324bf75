//! Reads, encodes and packs conversations, at the size of Pile-NER-type: 45,889 conversations of
//! about 500 tokens.
//!
//! `cargo bench -p uner-benches --bench encode -- TOKENIZER` generates the file once in a temporary
//! folder, then reads, encodes, stores and packs it, and prints one line of JSON. `TOKENIZER` is a
//! `tokenizer.model` or `tokenizer.json`.

use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use uner_benches::{peak_rss_mib, train_config};
use uner_data::{Dataset, Example, read};
use uner_prompt::{Template, Tokenizer, encode, mission};
use uner_trainer::Loader;
use uner_trainer::data::store::StoreWriter;

const CONVERSATIONS: usize = 45_889;
const QUERIES: usize = 8;
const PASSAGE_WORDS: usize = 170;
const CHUNK: usize = 1_000;

const SYLLABLES: [&str; 24] = [
    "an", "ber", "ca", "do", "el", "fin", "ga", "hor", "in", "jo", "ka", "lim", "mon", "ner", "or",
    "pra", "qui", "ras", "sto", "ter", "un", "vi", "wal", "zen",
];

fn word(rng: &mut ChaCha8Rng) -> String {
    let count = rng.random_range(1..4);
    (0..count).map(|_| SYLLABLES[rng.random_range(0..SYLLABLES.len())]).collect()
}

/// Returns a conversation in the official format, which is one line of JSON.
fn conversation(rng: &mut ChaCha8Rng) -> serde_json::Value {
    let words: Vec<String> = (0..PASSAGE_WORDS).map(|_| word(rng)).collect();
    let mut turns = vec![
        serde_json::json!({"from": "human", "value": format!("Text: {}", words.join(" "))}),
        serde_json::json!({"from": "gpt", "value": "I've read this text."}),
    ];
    for query in 0..QUERIES {
        let place = rng.random_range(0..words.len() - 3);
        let mentions: Vec<String> =
            if query % 2 == 0 { vec![words[place..place + 2].join(" ")] } else { Vec::new() };
        let question = format!("What describes {} {query} in the text?", word(rng));
        turns.push(serde_json::json!({"from": "human", "value": question}));
        turns.push(serde_json::json!({"from": "gpt", "value": uner_prompt::answer(&mentions, uner_prompt::Characters::Ascii)}));
    }
    serde_json::json!({"conversations": turns})
}

fn generate(path: &Path) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut file = BufWriter::new(fs_err::File::create(path).expect("a temporary file"));
    for _ in 0..CONVERSATIONS {
        writeln!(file, "{}", conversation(&mut rng)).expect("disk space");
    }
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() {
    let tokenizer = std::env::args().nth(1).filter(|argument| !argument.starts_with("--"));
    let Some(tokenizer) = tokenizer else {
        println!("name a tokenizer: cargo bench -p uner-benches --bench encode -- tokenizer.model");
        return;
    };
    let tokenizer = Tokenizer::from_file(Path::new(&tokenizer)).expect("a tokenizer");
    let template = Template::load("zero-shot").expect("built in");
    let folder = tempfile::tempdir().expect("a temporary folder");
    generate(&folder.path().join("train.jsonl"));
    let before = peak_rss_mib();

    let start = Instant::now();
    let dataset = "name = \"generated\"\ndomain = \"none\"\nsource = \"none\"\nlicence = \"none\"\nobtain = \"none\"\n\
                   [format]\nkind = \"conversations\"\ncontainer = \"lines\"\n[splits]\ntrain = \"train.jsonl\"\n";
    let dataset = Dataset::from_toml(dataset, "the bench").expect("valid");
    let mut examples = read(&dataset, "train", folder.path()).expect("readable");
    let config = train_config(256, 1024);
    let mut writer = StoreWriter::new(folder.path(), config.max_seq_len).expect("a temporary file");
    loop {
        let chunk: Vec<Example> =
            examples.by_ref().take(CHUNK).collect::<Result<_, _>>().expect("valid");
        if chunk.is_empty() {
            break;
        }
        let encoded = chunk.par_iter().map(|example| {
            encode(&mission::conversation(example, &template, None), &template, &tokenizer)
        });
        for tokens in encoded.collect::<Vec<_>>() {
            writer.push(&tokens.expect("encodes")).expect("fits");
        }
    }
    let store = writer.finish().expect("not empty");
    let encoded = start.elapsed().as_secs_f64();
    let loader = Loader::new(&store, &config, NonZeroUsize::MIN, 1);
    let steps = config.total_steps(store.len());
    let rows: usize = (0..steps)
        .map(|step| loader.step(step).micro_batches.iter().map(|batch| batch.rows).sum::<usize>())
        .sum();
    let total = start.elapsed().as_secs_f64();
    let tokens = store.summary().tokens as f64;
    println!(
        "{}",
        serde_json::json!({
            "conversations": store.len(),
            "tokens": tokens,
            "read_encode_store_seconds": encoded,
            "pack_seconds": total - encoded,
            "conversations_per_second": store.len() as f64 / total,
            "tokens_per_second": tokens / total,
            "rows": rows,
            "tokens_per_row": tokens / rows as f64,
            "peak_rss_mb": peak_rss_mib(),
            "peak_rss_before_mb": before,
        })
    );
}
