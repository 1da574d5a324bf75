//! Queries to a model of random weights, whose answers are forced: the engine chooses tokens among
//! the allowed ones as always, but what is allowed follows the gold answer. The answers thus have
//! realistic lengths, and what follows from a token costs what it costs in use.

use std::collections::VecDeque;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use rayon::prelude::*;
use uner_benches::random;
use uner_data::Example;
use uner_infer::engine::{Decoder, Engine, Limits, Next, Prompt, Sampling};
use uner_kernels::profile::{OpTime, record};
use uner_model::Size;
use uner_prompt::grounded::State;
use uner_prompt::{Grounding, Pieces, Template, Tokenizer, encode, encode_prompt, mission};
use uner_trainer::step::precision;

/// Slots of the cache: 8 GiB of a 7B model in bf16.
const SLOTS: usize = 16 << 10;
/// Longest answer, in tokens.
const LONGEST: usize = 256;

/// One query.
struct Forced {
    ids: Vec<u32>,
    /// The gold answer, with the token that ends it.
    answer: Vec<u32>,
}

/// What is asked of a model.
pub(crate) struct Work<'a> {
    pub(crate) preset: &'a str,
    pub(crate) tokenizer: &'a Path,
    /// Each with the types to ask in `queries`.
    pub(crate) passages: &'a [Example],
    /// How many queries run at the same time, for one measurement each.
    pub(crate) batches: &'a [usize],
    /// Where the prompts are written.
    pub(crate) prompts: Option<&'a Path>,
    /// Whether to time every op, which takes longer.
    pub(crate) profile: bool,
}

/// Answers every query twice for each number of queries at the same time; the second time counts.
/// Passes a result for each to `report`.
pub(crate) fn measure(work: &Work, device: &Device, mut report: impl FnMut(serde_json::Value)) {
    let tokenizer = Tokenizer::from_file(work.tokenizer).expect("a tokenizer");
    let asker = Asker {
        passages: work.passages,
        template: Template::load("zero-shot").expect("built in"),
        pieces: Arc::new(Pieces::new(&tokenizer)),
        tokenizer,
    };
    let config = random::config(work.preset);
    let model = random::model(&config, precision::parameters(device), device);
    let (asked, system) = (asker.queries(), asker.beginning());
    if let Some(path) = work.prompts {
        write(path, &asked, asker.tokenizer.eos());
    }
    let all = || asked.iter().flatten();
    let computed_tokens: usize = asked.iter().map(|queries| computed(queries, &system)).sum();
    let size = Size::new(&config, None);
    for &batch in work.batches {
        let limits = Limits { max_new_tokens: LONGEST, prompts: batch, slots: SLOTS };
        let mut engine = Engine::new(&model, &config, limits, Sampling::Greedy);
        engine.share(system.clone());
        asker.ask(&mut engine);
        let start = Instant::now();
        let ops = if work.profile {
            record(device, || asker.ask(&mut engine)).1
        } else {
            asker.ask(&mut engine);
            Vec::new()
        };
        let seconds = start.elapsed().as_secs_f64();
        report(serde_json::json!({
            "what": "inference",
            "program": "uner",
            "model": work.preset,
            "decoding": "forced",
            "batch": batch,
            "passages": work.passages.len(),
            "queries": all().count(),
            "prompt_tokens": all().map(|query| query.ids.len()).sum::<usize>(),
            "answer_tokens": all().map(|query| query.answer.len()).sum::<usize>(),
            "computed_tokens": computed_tokens,
            "flops": 2.0 * (size.blocks * size.block_matrices) as f64 * computed_tokens as f64,
            "seconds": seconds,
            "queries_per_second": all().count() as f64 / seconds,
            "ops": ops.iter().map(line).collect::<Vec<_>>(),
        }));
    }
}

/// What prompts and answers are made of.
struct Asker<'a> {
    passages: &'a [Example],
    template: Template,
    tokenizer: Tokenizer,
    pieces: Arc<Pieces>,
}

impl Asker<'_> {
    /// The queries of every passage.
    fn queries(&self) -> Vec<Vec<Forced>> {
        let forced = |passage| forced(passage, &self.template, &self.tokenizer);
        self.passages.par_iter().map(forced).collect()
    }

    /// The tokens that all prompts begin with.
    fn beginning(&self) -> Vec<u32> {
        let prompt = |text: &str| {
            let conversation = mission::prompt(text, "a", &self.template, None);
            encode_prompt(&conversation, &self.template, &self.tokenizer).expect("a prompt")
        };
        let (first, second) = (prompt("a"), prompt("b"));
        first.iter().zip(&second).take_while(|(a, b)| a == b).map(|(id, _)| *id).collect()
    }

    /// Answers every query.
    fn ask(&self, engine: &mut Engine) {
        let passages = self.passages.iter().zip(self.queries()).map(|(passage, queries)| {
            let pieces = Arc::clone(&self.pieces);
            let grounding = Grounding::new(&passage.text, &[""], &self.template, pieces);
            let grounding = Arc::new(grounding.expect("the vocabulary writes JSON"));
            let prompt = |Forced { ids, answer }| {
                let state = Some(grounding.start());
                let grounding = Arc::clone(&grounding);
                Prompt::new(ids, ForcedDecoder { state, grounding, answer: answer.into() })
            };
            queries.into_iter().map(prompt).collect()
        });
        engine.run(passages, |_, _| ControlFlow::Continue(())).expect("finite logits");
    }
}

fn line(OpTime { op, calls, seconds, .. }: &OpTime) -> serde_json::Value {
    serde_json::json!({"op": op, "calls": calls, "seconds": seconds})
}

/// The queries of a passage, with the answers of its entities.
fn forced(passage: &Example, template: &Template, tokenizer: &Tokenizer) -> Vec<Forced> {
    let query = |name: &String| {
        let one = Example { queries: vec![name.clone()], ..passage.clone() };
        let conversation = mission::conversation(&one, template, None);
        let tokens = encode(&conversation, template, tokenizer).expect("a conversation");
        let first = tokens.loss_mask.iter().position(|trained| *trained).expect("an answer");
        let last = tokens.loss_mask.iter().rposition(|trained| *trained).expect("an answer");
        Forced { ids: tokens.ids[..first].to_vec(), answer: tokens.ids[first..=last].to_vec() }
    };
    passage.queries.iter().map(query).collect()
}

/// Tokens that the model computes for the queries of a passage: each of their common beginning
/// once, without that of all prompts, and those of the answers but the last two, since `]` ends an
/// answer.
fn computed(queries: &[Forced], system: &[u32]) -> usize {
    let Some((first, others)) = queries.split_first() else { return 0 };
    let shared =
        |other: &Forced| first.ids.iter().zip(&other.ids).take_while(|(a, b)| a == b).count();
    let common = others.iter().map(shared).fold(first.ids.len() - 1, usize::min);
    let own = |query: &Forced| query.ids.len() - common + query.answer.len().saturating_sub(2);
    common - system.len() + queries.iter().map(own).sum::<usize>()
}

/// Writes a line of JSON for each prompt.
fn write(path: &Path, asked: &[Vec<Forced>], end: u32) {
    let mut out = std::io::BufWriter::new(fs_err::File::create(path).expect("a file"));
    for Forced { ids, answer } in asked.iter().flatten() {
        let line = serde_json::json!({"ids": ids, "end": end, "answer_tokens": answer.len()});
        writeln!(out, "{line}").expect("disk space");
    }
}

/// Allows what the passage allows after the gold answer so far.
struct ForcedDecoder {
    grounding: Arc<Grounding>,
    /// `None` once the gold answer is not one that the passage allows.
    state: Option<State>,
    answer: VecDeque<u32>,
}

impl Decoder for ForcedDecoder {
    fn next(&mut self) -> Next {
        match &self.state {
            Some(state) if !self.grounding.is_complete(state) => {
                Next::OneOf(self.grounding.allowed(state))
            }
            _ => Next::Nothing,
        }
    }

    fn push(&mut self, _: u32) -> bool {
        let gold = self.answer.pop_front();
        let next = |state: &State| self.grounding.advance(state, gold?);
        self.state = self.state.as_ref().and_then(next);
        true
    }

    fn makes_empty(&self, token: u32) -> bool {
        let next = |state: &State| self.grounding.advance(state, token);
        let next = self.state.as_ref().and_then(next);
        next.is_some_and(|state| self.grounding.is_complete(&state))
    }
}
