//! A running prompt.

use std::ops::Range;
use std::sync::Arc;

use uner_kernels::cached_attention::Sequence;

use super::batch::Batch;
use super::choose::{Draw, Sampling, choose};
use super::decoder::{Decoder, Next};
use super::{Answer, Engine, Prompt, Stop};

/// Slots that a running prompt takes at a time.
pub(super) const SLOTS_AT_ONCE: usize = 16;
/// Most tokens of an empty answer, `[]` or `None` and the end of turn.
const EMPTY_TOKENS: usize = 3;

/// The slots of a beginning.
pub(super) struct Prefix {
    pub(super) slots: Vec<Range<usize>>,
    pub(super) tokens: usize,
    /// Tokens at the start of it that other passages share.
    pub(super) shared: usize,
}

/// A running prompt.
pub(super) struct Branch<'a> {
    /// The index of its passage, and its own there.
    pub(super) passage: usize,
    pub(super) prompt: usize,
    prefix: Arc<Prefix>,
    /// The prompt's tokens behind the beginning.
    ids: Vec<u32>,
    /// Its own slots, of which the first `stored` hold a token.
    own: Vec<Range<usize>>,
    stored: usize,
    /// Tokens that are not in the cache yet.
    pub(super) pending: Vec<u32>,
    decoder: Box<dyn Decoder + 'a>,
    max_new_tokens: Option<usize>,
    sampling: Option<Sampling>,
    pub(super) next: Next,
    pub(super) answer: Answer,
}

impl Prefix {
    /// Number of slots that other passages do not share.
    pub(super) fn own(&self) -> usize {
        self.tokens - self.shared
    }

    /// Returns the slots that other passages do not share.
    pub(super) fn release(&self, engine: &mut Engine) {
        engine.release(skip(&self.slots, self.shared));
    }
}

impl<'a> Branch<'a> {
    /// The prompt with this index in its passage.
    pub(super) fn new(
        passage: usize,
        index: usize,
        prompt: Prompt<'a>,
        prefix: &Arc<Prefix>,
    ) -> Self {
        let Prompt { mut ids, mut decoder, max_new_tokens, sampling } = prompt;
        let next = decoder.next();
        let ids = ids.split_off(prefix.tokens);
        Self {
            passage,
            prompt: index,
            prefix: Arc::clone(prefix),
            own: Vec::new(),
            stored: 0,
            pending: ids.clone(),
            ids,
            decoder,
            max_new_tokens,
            sampling,
            next,
            answer: Answer::default(),
        }
    }

    /// Number of slots that it has after the next step.
    pub(super) fn slots(&self) -> usize {
        let (have, tokens) = (count(&self.own), self.stored + self.pending.len());
        if have < tokens { have + (tokens - have).max(SLOTS_AT_ONCE) } else { have }
    }

    /// Returns its slots. Its tokens are computed again when it goes on.
    pub(super) fn pause(&mut self, engine: &mut Engine) {
        self.release(engine);
        self.stored = 0;
        self.pending.clone_from(&self.ids);
        self.pending.extend(&self.answer.ids);
    }

    /// Returns its slots.
    pub(super) fn release(&mut self, engine: &mut Engine) {
        engine.release(std::mem::take(&mut self.own));
    }

    /// Adds the pending tokens to a batch, and returns the index of the last.
    pub(super) fn add_to(&mut self, batch: &mut Batch, engine: &mut Engine) -> usize {
        let tokens = self.stored + self.pending.len();
        self.own.extend(engine.take(self.slots() - count(&self.own)));
        let sequence = Sequence {
            shared: self.prefix.slots.clone(),
            own: first(&self.own, tokens),
            new: self.pending.len(),
        };
        let row = batch.add(sequence, &self.pending);
        self.stored = tokens;
        self.pending.clear();
        row
    }

    /// The tokens that may follow, if not any may.
    pub(super) fn allowed(&self) -> &[u32] {
        match &self.next {
            Next::OneOf(allowed) => allowed,
            Next::Any | Next::Nothing => &[],
        }
    }

    /// Appends the next token, and those that must follow it. `logits` are those of all tokens if
    /// `has_all`, else those of the allowed ones; an answer has at most `most` tokens.
    pub(super) fn choose(
        &mut self,
        logits: &[f32],
        has_all: bool,
        sampling: Sampling,
        most: usize,
    ) -> Result<(), Stop> {
        let token = self.answer.ids.len();
        let (sampling, draw) = match self.sampling {
            Some(own) => (own, Draw { passage: 0, prompt: 0, token }),
            None => (sampling, Draw { passage: self.passage, prompt: self.prompt, token }),
        };
        let most = self.max_new_tokens.unwrap_or(most);
        let chosen = if let Next::OneOf(allowed) = &self.next {
            let of_allowed = |id: &u32| logits[*id as usize];
            let own: Vec<f32> =
                if has_all { allowed.iter().map(of_allowed).collect() } else { logits.to_vec() };
            let chosen = choose(&own, sampling, draw);
            self.answer.empty_probability += self.empty_probability(allowed, &own);
            chosen.map(|(index, p)| (allowed[index], p))
        } else {
            choose(logits, sampling, draw).map(|(index, p)| (index as u32, p))
        };
        let (mut token, mut probability) =
            chosen.ok_or(Stop::NotFinite(self.passage, self.prompt))?;
        while self.append(token, probability, most) {
            let Next::OneOf(only) = &self.next else { break };
            let [forced] = only[..] else { break };
            self.answer.empty_probability += self.empty_probability(&[forced], &[0.0]);
            (token, probability) = (forced, 1.0);
        }
        Ok(())
    }

    /// The probability that the next token makes the answer empty.
    fn empty_probability(&self, allowed: &[u32], logits: &[f32]) -> f64 {
        if self.answer.ids.len() >= EMPTY_TOKENS {
            return 0.0;
        }
        let empty = |(token, _): &(&u32, &f32)| self.decoder.makes_empty(**token);
        let sum = |terms: &mut dyn Iterator<Item = &f32>| -> f64 {
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            terms.map(|&logit| f64::from(logit - largest).exp()).sum()
        };
        let mut terms = allowed.iter().zip(logits).filter(empty).map(|(_, logit)| logit);
        let before: f64 = self.answer.probabilities.iter().product();
        before * sum(&mut terms) / sum(&mut logits.iter())
    }

    /// Appends a token to the answer, and returns whether the answer goes on. Without a pending
    /// token, the prompt has ended.
    fn append(&mut self, token: u32, probability: f64, most: usize) -> bool {
        self.answer.probabilities.push(probability);
        if self.decoder.push(token) {
            self.answer.ids.push(token);
            self.pending.push(token);
        }
        self.next = self.decoder.next();
        self.answer.ended = self.next == Next::Nothing;
        let goes_on = !self.answer.ended && self.answer.ids.len() < most;
        if !goes_on {
            self.pending.clear();
        }
        goes_on
    }
}

/// The first `count` slots.
fn first(slots: &[Range<usize>], count: usize) -> Vec<Range<usize>> {
    let mut left = count;
    let cut = |range: &Range<usize>| {
        let taken = range.len().min(left);
        left -= taken;
        range.start..range.start + taken
    };
    slots.iter().map(cut).filter(|range| !range.is_empty()).collect()
}

/// All slots but the first `count`.
fn skip(slots: &[Range<usize>], count: usize) -> Vec<Range<usize>> {
    let mut left = count;
    let cut = |range: &Range<usize>| {
        let skipped = range.len().min(left);
        left -= skipped;
        range.start + skipped..range.end
    };
    slots.iter().map(cut).filter(|range| !range.is_empty()).collect()
}

fn count(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(ExactSizeIterator::len).sum()
}
