//! Training data: rows of random tokens, or conversations from a file with one line
//! `{"ids", "labels"}` each, as `uner data encode` writes them.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use serde_json::json;
use uner_data::{
    DatasetRef, Draw, Example, NegativeConfig, Strategy, TypeCounts, TypeInventory, add_negatives,
    read as examples,
};
use uner_prompt::{Template, Tokenizer, Tokens, encode, fit, mission};
use uner_trainer::TokenStore;
use uner_trainer::data::store::StoreWriter;

use crate::SEED;

/// About 2,200 passages of Pile-NER-type with their entities.
const DATASET: &str = "slimer-pilener";

/// Returns `rows` conversations of `seq` random tokens, of which every token that can be is
/// trained.
pub(crate) fn full_rows(rows: usize, seq: usize, vocab: usize, scratch: &Path) -> TokenStore {
    let mut writer = StoreWriter::new(scratch, seq).expect("a temporary file");
    for row in 0..rows {
        let id = |place: usize| (3 + (row * seq + place) * 7919 % (vocab - 3)) as u32;
        let tokens = Tokens {
            ids: (0..seq).map(id).collect(),
            loss_mask: vec![true; seq],
            exchanges: vec![seq],
        };
        writer.push(&tokens).expect("a row is as long as a row");
    }
    writer.finish().expect("not empty")
}

/// Reads the conversations of a file, each as one exchange.
pub(crate) fn read(file: &Path, scratch: &Path, seq: usize) -> TokenStore {
    let mut writer = StoreWriter::new(scratch, seq).expect("a temporary file");
    for line in BufReader::new(fs_err::File::open(file).expect("the conversations")).lines() {
        let line: serde_json::Value =
            serde_json::from_str(&line.expect("text")).expect("a line of JSON");
        let column = |name: &str| {
            line[name].as_array().expect("a list").iter().map(|id| id.as_i64().expect("an id"))
        };
        let ids: Vec<u32> = column("ids").map(|id| id as u32).collect();
        let exchanges = vec![ids.len()];
        writer
            .push(&Tokens {
                ids,
                loss_mask: column("labels").map(|label| label >= 0).collect(),
                exchanges,
            })
            .expect("no longer than a row");
    }
    writer.finish().expect("not empty")
}

/// Writes `count` randomly drawn conversations of the shared data, encoded as in a run: one absent
/// type per present type, drawn by frequency. Queries beyond `longest` tokens are dropped, and so
/// are passages that are longer by themselves. Returns a description of the file as JSON.
pub(crate) fn encode_shared(
    shared: &Path,
    file: &Path,
    count: usize,
    longest: usize,
) -> serde_json::Value {
    let data = shared.join("data");
    let tokenizer =
        Tokenizer::from_file(&data.join("llama-tokenizer/tokenizer.model")).expect("a tokenizer");
    let template = Template::load("zero-shot").expect("built in");
    let encoded: Vec<Tokens> = questioned(&data)
        .par_iter()
        .filter_map(|example| {
            let tokens =
                encode(&mission::conversation(example, &template, None), &template, &tokenizer);
            Some(fit(tokens.expect("encodes"), longest).ok()?.tokens)
        })
        .filter(|tokens| tokens.num_trained() > 0)
        .collect();
    let mut chosen: Vec<&Tokens> = encoded.iter().collect();
    chosen.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
    chosen.truncate(count);
    let mut out = BufWriter::new(fs_err::File::create(file).expect("a file that can be written"));
    for tokens in &chosen {
        writeln!(out, "{}", json!({"ids": tokens.ids, "labels": tokens.labels()}))
            .expect("disk space");
    }
    out.flush().expect("disk space");
    let tokens: usize = chosen.iter().map(|tokens| tokens.ids.len()).sum();
    let trained: usize = chosen.iter().map(|tokens| tokens.num_trained()).sum();
    json!({
        "what": "conversations",
        "dataset": DATASET,
        "conversations": chosen.len(),
        "of": encoded.len(),
        "tokens": tokens,
        "trained_tokens": trained,
        "longest": chosen.iter().map(|tokens| tokens.ids.len()).max(),
    })
}

/// Reads the examples and adds absent types.
fn questioned(root: &Path) -> Vec<Example> {
    let dataset = DatasetRef::Name(DATASET.to_owned()).resolve().expect("built in");
    let mut found: Vec<Example> = examples(&dataset, "train", root)
        .expect("the shared data has it")
        .collect::<Result<_, _>>()
        .expect("valid");
    let mut counts = TypeCounts::default();
    for example in &found {
        counts.add(example);
    }
    let inventory = TypeInventory::new(&counts);
    let config = NegativeConfig { strategy: Strategy::Frequency, ratio: 1.0, drop_asked: true };
    for (example, index) in found.iter_mut().zip(0..) {
        add_negatives(example, &inventory, &config, Draw { seed: SEED, epoch: 0, index });
    }
    found
}
