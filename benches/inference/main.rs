//! Measures how many queries a second a model answers: every type of every passage.
//!
//! `cargo bench -p uner-benches --bench inference -- --model DIR --root DIR [--types N]
//! [--passages N] [--words N] [--batch N] [--int8] [--decoding free] [--prompts FILE]` reads the
//! test sets of CrossNER below `root`, asks `types` types of each passage, and prints a line of
//! JSON. `--words` joins passages until each has that many words. With `--prompts`, it also writes
//! each prompt's token ids as a line of JSON, for `benches/inference.py` to measure other programs
//! with the same prompts.
//!
//! `-- --preset 7b|tiny --tokenizer FILE --root DIR [--passages N] --batch N,N [--prompts FILE]
//! [--device cuda:0] [--profile]` asks a model of random weights instead, with answers that are as
//! long as the gold ones; `--profile` times every op.
//!
//! `-- --model DIR --continue PROMPTS --answers FILE` continues the first 40 prompts of such a file
//! by 64 tokens instead, whatever they are, and writes them with the prompts, for `inference.py` to
//! compare with transformers.

mod forced;

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use uner_benches::peak_rss_mib;
use uner_data::{Example, read};
use uner_infer::{Decoding, Generator, LoadOptions, Predictor, Query};

/// The binaries' allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Prompts that are continued, and tokens of each continuation.
const CONTINUED: usize = 40;
const NEW_TOKENS: usize = 64;

const DATASETS: [&str; 5] = ["ai", "literature", "music", "politics", "science"];

/// The arguments.
struct Arguments {
    model: PathBuf,
    /// The shape of a model with random weights, and its tokenizer.
    random: Option<(String, PathBuf)>,
    root: PathBuf,
    types: usize,
    passages: usize,
    words: usize,
    /// The default of the model if empty.
    batches: Vec<usize>,
    decoding: Decoding,
    int8: bool,
    prompts: Option<PathBuf>,
    device: String,
    /// Prompts to continue, and where the continuations go.
    continued: Option<(PathBuf, PathBuf)>,
}

impl Arguments {
    fn read() -> Self {
        let all: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| {
            let index = all.iter().position(|argument| argument == name)?;
            Some(all.get(index + 1).unwrap_or_else(|| panic!("`{name}` needs a value")).clone())
        };
        let number = |name: &str, default: usize| {
            value(name).map_or(default, |text| text.parse().expect("a number"))
        };
        Self {
            model: value("--model").unwrap_or_default().into(),
            random: value("--preset")
                .map(|preset| (preset, value("--tokenizer").expect("`--tokenizer FILE`").into())),
            root: value("--root").unwrap_or_default().into(),
            types: number("--types", usize::MAX),
            passages: number("--passages", usize::MAX),
            words: number("--words", 0),
            batches: value("--batch").map_or_else(Vec::new, |text| {
                text.split(',').map(|text| text.parse().expect("a number")).collect()
            }),
            decoding: match value("--decoding").as_deref() {
                Some("free") => Decoding::Free,
                _ => Decoding::Grounded,
            },
            int8: all.iter().any(|argument| argument == "--int8"),
            prompts: value("--prompts").map(PathBuf::from),
            device: value("--device").unwrap_or_else(|| "flex".to_owned()),
            continued: value("--continue").map(|prompts| {
                (prompts.into(), value("--answers").expect("`--answers FILE`").into())
            }),
        }
    }
}

/// Passages of all test sets, in turn, each with the types to ask.
fn passages(arguments: &Arguments) -> Vec<Example> {
    let mut sets: Vec<Vec<Example>> = DATASETS
        .iter()
        .map(|name| {
            let dataset =
                uner_data::registry::find(&format!("crossner-{name}")).expect("a built-in dataset");
            let types: Vec<String> = dataset
                .entity_types()
                .into_iter()
                .map(str::to_owned)
                .take(arguments.types)
                .collect();
            let examples = read(&dataset, "test", &arguments.root).expect("the test set");
            let with_types = |example: Result<Example, _>| {
                let example: Example = example.expect("a valid example");
                Example { queries: types.clone(), ..example }
            };
            examples.map(with_types).collect()
        })
        .collect();
    let mut passages = Vec::new();
    while sets.iter().any(|set| !set.is_empty()) && passages.len() < arguments.passages {
        passages.extend(sets.iter_mut().filter(|set| !set.is_empty()).map(|set| {
            let mut passage = set.remove(0);
            while passage.text.split_whitespace().count() < arguments.words && !set.is_empty() {
                passage.text.push(' ');
                passage.text.push_str(&set.remove(0).text);
            }
            passage
        }));
    }
    passages.truncate(arguments.passages);
    passages
}

/// Continues the first prompts of a file, and writes a line for each: its ids, and the answer's.
fn continue_prompts(arguments: &Arguments, device: &Device, prompts: &Path, answers: &Path) {
    let (config, model) =
        uner_model::folder::load(&arguments.model, None, device).expect("a model");
    let model = if *device == Device::flex() { model.pack() } else { model };
    let text = fs_err::read_to_string(prompts).expect("prompts");
    let ids = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        serde_json::from_value::<Vec<u32>>(line["ids"].clone()).expect("token ids")
    };
    let prompts: Vec<Vec<u32>> = text.lines().map(ids).take(CONTINUED).collect();
    let generator = Generator { model: &model, config: &config };
    let found = generator.greedy(&prompts, NEW_TOKENS, |_| false).expect("finite logits");
    let mut out = std::io::BufWriter::new(fs_err::File::create(answers).expect("a file"));
    for (ids, answer) in prompts.iter().zip(found) {
        let line = serde_json::json!({"ids": ids, "answer": answer});
        writeln!(out, "{line}").expect("disk space");
    }
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() {
    let arguments = Arguments::read();
    let device: Device = arguments
        .device
        .parse::<uner_kernels::device::DeviceName>()
        .expect("a device")
        .open()
        .expect("a device of this machine");
    if let Some((prompts, answers)) = &arguments.continued {
        return continue_prompts(&arguments, &device, prompts, answers);
    }
    if let Some((preset, tokenizer)) = &arguments.random {
        let work = forced::Work {
            preset,
            tokenizer,
            passages: &passages(&arguments),
            batches: &arguments.batches,
            prompts: arguments.prompts.as_deref(),
            profile: std::env::args().any(|argument| argument == "--profile"),
        };
        return forced::measure(&work, &device, |result| println!("{result}"));
    }
    let options = LoadOptions {
        decoding: Some(arguments.decoding),
        queries_per_batch: arguments.batches.first().copied(),
        int8: arguments.int8,
        ..LoadOptions::default()
    };
    let model = Predictor::load_with(&arguments.model, &device, &options).expect("a model");
    let passages = passages(&arguments);
    let query = |text, entity_type| Query { text, entity_type, dataset: None };
    let queries: Vec<Query> = passages
        .iter()
        .flat_map(|passage| passage.queries.iter().map(|name| query(&passage.text, name)))
        .collect();
    if let Some(path) = &arguments.prompts {
        let mut out = std::io::BufWriter::new(fs_err::File::create(path).expect("a file"));
        for query in &queries {
            let ids = model.prompt_of(query).expect("a prompt that fits the model");
            let line = serde_json::json!({"ids": ids, "end": model.end_of_turn()});
            writeln!(out, "{line}").expect("disk space");
        }
    }
    let warm = &queries[..queries.len().min(arguments.types.min(8))];
    model.answer(warm, |_| ControlFlow::Continue(())).expect("answers");
    let start = Instant::now();
    let responses = model.answer(&queries, |_| ControlFlow::Continue(())).expect("answers");
    let seconds = start.elapsed().as_secs_f64();
    let entities: usize = responses.iter().map(|response| response.entities.len()).sum();
    let line = serde_json::json!({
        "program": "uner",
        "decoding": format!("{:?}", arguments.decoding).to_lowercase(),
        "weights": if arguments.int8 { "int8" } else { "f32" },
        "types": arguments.types,
        "batch": arguments.batches.first(),
        "words": passages.iter().map(|passage| passage.text.split_whitespace().count()).sum::<usize>(),
        "passages": passages.len(),
        "queries": queries.len(),
        "entities": entities,
        "seconds": seconds,
        "queries_per_second": queries.len() as f64 / seconds,
        "peak_rss_mib": peak_rss_mib(),
    });
    println!("{line}");
}
