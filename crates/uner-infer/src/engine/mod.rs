//! Continues many prompts at once.
//!
//! Prompts that begin alike share that beginning: a passage is computed once, and the questions
//! about it branch off. Every step computes the new tokens of all running prompts, without padding.
//! A prompt that ends leaves at once and another takes its place (continuous batching, Yu et al.
//! 2022). Only the last token of a prompt reaches the head, and only the logits of tokens that may
//! follow it are computed.

mod batch;
mod branch;
mod choose;
mod decoder;
mod run;
mod slots;

use std::ops::{ControlFlow, Range};

use burn::tensor::Device;
use uner_kernels::cached_attention::Sequence;
use uner_model::{KvCache, Llama, LlamaConfig};

use batch::Batch;
pub use choose::Sampling;
pub use decoder::{Decoder, FreeDecoder, Next};
use run::Run;
use slots::Slots;

/// Limits of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Prompts that run at the same time.
    pub prompts: usize,
    /// Tokens in the cache; a single prompt may exceed it. If it is full, the latest prompts pause,
    /// and their tokens are computed again.
    pub slots: usize,
}

/// A prompt, and what may follow it.
pub struct Prompt<'a> {
    /// At least one token.
    pub ids: Vec<u32>,
    /// Says which tokens may follow.
    pub decoder: Box<dyn Decoder + 'a>,
    /// Longest answer in tokens, in place of the engine's.
    pub max_new_tokens: Option<usize>,
    /// How its tokens are chosen, in place of the engine's way. Its draws depend on no other
    /// prompt.
    pub sampling: Option<Sampling>,
}

impl<'a> Prompt<'a> {
    /// A prompt that is continued as the engine says.
    pub fn new(ids: Vec<u32>, decoder: impl Decoder + 'a) -> Self {
        Self { ids, decoder: Box::new(decoder), max_new_tokens: None, sampling: None }
    }
}

/// The continuation of a prompt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Its tokens, without the one that ended it.
    pub ids: Vec<u32>,
    /// The probability of each token among those that the decoder allowed; 1 if it was the only
    /// one. If a token that is no part of the answer ended it, that token's probability is last.
    pub probabilities: Vec<f64>,
    /// The probability that the answer is empty, as far as it was on the way: a sum over the
    /// tokens that would have made it so.
    pub empty_probability: f64,
    /// Whether it ended by itself, and not because it was too long.
    pub ended: bool,
}

/// Why an engine stopped before its last prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The caller's callback said so.
    Cancelled,
    /// The logits of a prompt are infinite or not numbers: (index of the passage, of its prompt).
    NotFinite(usize, usize),
}

/// Continues prompts with a model.
#[derive(Debug)]
pub struct Engine<'a> {
    model: &'a Llama,
    config: &'a LlamaConfig,
    device: Device,
    limits: Limits,
    sampling: Sampling,
    memory: Memory,
}

/// The cache of an engine, which the next engine of the same model may continue to use.
#[derive(Debug)]
pub struct Memory {
    cache: KvCache,
    slots: Slots,
    /// Tokens that every prompt is expected to begin with, and their slots.
    system: (Vec<u32>, Vec<Range<usize>>),
}

impl Memory {
    /// An empty cache for a model.
    pub fn new(model: &Llama, config: &LlamaConfig) -> Self {
        let cache = model.cache(config, 0);
        Self { cache, slots: Slots::default(), system: (Vec::new(), Vec::new()) }
    }
}

impl<'a> Engine<'a> {
    /// An engine with an empty cache.
    pub fn new(
        model: &'a Llama,
        config: &'a LlamaConfig,
        limits: Limits,
        sampling: Sampling,
    ) -> Self {
        Self::with_memory(model, config, limits, sampling, Memory::new(model, config))
    }

    /// An engine with the cache of an earlier one.
    pub fn with_memory(
        model: &'a Llama,
        config: &'a LlamaConfig,
        limits: Limits,
        sampling: Sampling,
        memory: Memory,
    ) -> Self {
        Self { model, config, device: model.head().device(), limits, sampling, memory }
    }

    /// Returns the cache, for the next engine.
    pub fn into_memory(self) -> Memory {
        self.memory
    }

    /// Computes the beginning of all prompts, such as the system prompt, once for all runs.
    pub fn share(&mut self, beginning: Vec<u32>) {
        if self.memory.system.0 == beginning {
            return;
        }
        let (_, slots) = std::mem::take(&mut self.memory.system);
        self.release(slots);
        if beginning.is_empty() {
            return;
        }
        let slots = self.take(beginning.len());
        let mut batch = Batch::default();
        let sequence = Sequence { shared: slots.clone(), own: Vec::new(), new: beginning.len() };
        batch.add(sequence, &beginning);
        batch.forward(self.model, self.config, &mut self.memory.cache, &self.device);
        self.memory.system = (beginning, slots);
    }

    /// Continues the prompts of every passage, and passes the answers of each, in the order of its
    /// prompts, to `finished` with the passage's index. Passages finish in any order. Passages are
    /// only taken from the iterator when there is room for them. While prompts run, it is polled at
    /// every step, even after it has ended.
    ///
    /// A greedy answer does not depend on the other prompts that run at the same time, except for
    /// rounding.
    ///
    /// # Errors
    /// When `finished` breaks, or logits are not finite.
    ///
    /// # Panics
    /// When a prompt has no token.
    pub fn run<'p>(
        &mut self,
        passages: impl IntoIterator<Item = Vec<Prompt<'p>>>,
        mut finished: impl FnMut(usize, Vec<Answer>) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let mut run = Run::new(passages.into_iter());
        let outcome = run.all(self, &mut finished);
        run.release(self);
        outcome
    }

    /// Number of tokens that the cache has room for before it grows.
    pub fn free_slots(&self) -> usize {
        self.memory.slots.available()
    }

    /// Takes free slots; the cache grows if there are too few.
    fn take(&mut self, count: usize) -> Vec<Range<usize>> {
        let Memory { cache, slots, .. } = &mut self.memory;
        let missing = count.saturating_sub(slots.available());
        if missing > 0 {
            // Doubling, so that all copies together cost as much as the last.
            let more = missing.max(slots.total()).max(256);
            cache.grow(more);
            slots.grow(more);
        }
        slots.take(count)
    }

    fn release(&mut self, ranges: Vec<Range<usize>>) {
        for range in ranges {
            self.memory.slots.release(range);
        }
    }
}
