//! The passages and prompts of one run of an engine.

use std::collections::VecDeque;
use std::iter::Enumerate;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::batch::{Batch, all_logits, some_logits};
use super::choose::{Draw, choose};
use super::decoder::{Decoder, Next};
use super::{Answer, Engine, Prompt, Stop};

/// New tokens of a step at which no further prompt joins it: enough to keep matrix products busy.
const TOKENS_PER_STEP: usize = 1024;
/// Slots that a running prompt takes at a time.
const SLOTS_AT_ONCE: usize = 16;

/// Most tokens of an empty answer, `[]` or `None` and the end of turn.
const EMPTY_TOKENS: usize = 3;

/// The state of a run.
pub(super) struct Run<'p, I> {
    coming: Enumerate<I>,
    /// Passages with prompts that run or wait, in their order.
    passages: Vec<Passage<'p>>,
    branches: Vec<Branch<'p>>,
    /// Slots that the passages and branches may come to need.
    reserved: usize,
}

/// A passage: the shared beginning of its prompts.
struct Passage<'a> {
    index: usize,
    prefix: Arc<Prefix>,
    /// The tokens of the beginning that are not in the cache yet.
    new: Vec<u32>,
    waiting: VecDeque<(usize, Prompt<'a>)>,
    answers: Vec<Option<Answer>>,
}

/// The slots of a beginning.
struct Prefix {
    slots: Vec<Range<usize>>,
    tokens: usize,
    /// Tokens at the start of it that other passages share.
    shared: usize,
}

/// A running prompt.
struct Branch<'a> {
    passage: usize,
    prompt: usize,
    prefix: Arc<Prefix>,
    /// Its own slots, of which the first `stored` hold a token.
    own: Vec<Range<usize>>,
    stored: usize,
    /// Tokens that are not in the cache yet.
    pending: Vec<u32>,
    /// Slots that it may come to need.
    reserved: usize,
    decoder: Box<dyn Decoder + 'a>,
    next: Next,
    answer: Answer,
}

impl<'p, I: Iterator<Item = Vec<Prompt<'p>>>> Run<'p, I> {
    pub(super) fn new(passages: I) -> Self {
        Self {
            coming: passages.enumerate(),
            passages: Vec::new(),
            branches: Vec::new(),
            reserved: 0,
        }
    }

    /// Runs every prompt.
    pub(super) fn all(
        &mut self,
        engine: &mut Engine,
        finished: &mut dyn FnMut(usize, Vec<Answer>) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        loop {
            self.admit(engine);
            let is_last = self.branches.is_empty();
            if !is_last {
                self.step(engine)?;
            }
            for (index, answers) in self.close(engine) {
                if finished(index, answers).is_break() {
                    return Err(Stop::Cancelled);
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Starts prompts while the limits allow it. At least one runs afterwards if any is left.
    fn admit(&mut self, engine: &mut Engine) {
        let pending = self.branches.iter().map(|branch| branch.pending.len());
        let new = self.passages.iter().map(|passage| passage.new.len());
        let mut tokens: usize = pending.chain(new).sum();
        while tokens < TOKENS_PER_STEP && self.branches.len() < engine.limits.prompts.max(1) {
            let open = self.passages.iter_mut().find(|passage| !passage.waiting.is_empty());
            let Some(passage) = open else {
                let Some(new) = self.open_passage(engine) else { break };
                tokens += new;
                continue;
            };
            let (_, prompt) = &passage.waiting[0];
            let reserved = prompt.ids.len() - passage.prefix.tokens + engine.limits.max_new_tokens;
            let is_full = self.reserved + reserved > engine.limits.slots;
            if is_full && !self.branches.is_empty() {
                break;
            }
            self.reserved += reserved;
            let (index, prompt) = passage.waiting.pop_front().expect("a waiting prompt");
            let branch = Branch::new(passage, index, prompt, reserved);
            tokens += branch.pending.len();
            self.branches.push(branch);
        }
    }

    /// Takes the next passage, and slots for the beginning of its prompts. Returns the number of
    /// tokens of it that are to be computed, or `None` after the last passage.
    fn open_passage(&mut self, engine: &mut Engine) -> Option<usize> {
        let (index, prompts) = self.coming.next()?;
        let common = common_prefix(&prompts);
        let (system, shared_slots) = &engine.memory.system;
        // Every prompt keeps its last token, whose output is needed.
        let starts =
            |prompt: &Prompt| prompt.ids.len() > system.len() && prompt.ids.starts_with(system);
        let shared = if prompts.iter().all(starts) { system.len() } else { 0 };
        let mut slots = if shared > 0 { shared_slots.clone() } else { Vec::new() };
        let new = match prompts.first() {
            Some(first) if common > shared => first.ids[shared..common].to_vec(),
            _ => Vec::new(),
        };
        slots.extend(engine.take(new.len()));
        let count = new.len();
        self.reserved += count;
        let prefix = Arc::new(Prefix { slots, tokens: shared + count, shared });
        let answers = vec![None; prompts.len()];
        let waiting = prompts.into_iter().enumerate().collect();
        self.passages.push(Passage { index, prefix, new, waiting, answers });
        Some(count)
    }

    /// Computes the new tokens of every running prompt, and chooses their next ones.
    fn step(&mut self, engine: &mut Engine) -> Result<(), Stop> {
        let mut batch = Batch::default();
        for passage in &mut self.passages {
            if !passage.new.is_empty() {
                let new = std::mem::take(&mut passage.new);
                batch.add(&passage.prefix.slots, &new, passage.prefix.shared);
            }
        }
        let rows: Vec<usize> =
            self.branches.iter_mut().map(|branch| branch.add_to(&mut batch, engine)).collect();
        let hidden =
            batch.forward(engine.model, engine.config, &mut engine.memory.cache, &engine.device);
        let has_all = self.branches.iter().any(|branch| branch.next == Next::Any);
        let logits = if has_all {
            all_logits(engine.model, hidden, &rows)
        } else {
            let allowed = self.branches.iter().map(Branch::allowed);
            some_logits(engine.model, hidden, rows.iter().copied().zip(allowed))
        };
        let width = logits.len() / rows.len();
        let mut logits = &logits[..];
        for branch in &mut self.branches {
            let count = if has_all { width } else { branch.allowed().len() };
            let (own, others) = logits.split_at(count);
            branch.choose(own, has_all, engine)?;
            logits = others;
        }
        Ok(())
    }

    /// Removes prompts that have ended, and passages all of whose prompts have. Returns the answers
    /// of these.
    fn close(&mut self, engine: &mut Engine) -> Vec<(usize, Vec<Answer>)> {
        let ended = self.branches.extract_if(.., |branch| branch.pending.is_empty());
        for Branch { passage, prompt, own, reserved, answer, .. } in ended {
            engine.release(own);
            self.reserved -= reserved;
            let of_branch = self.passages.iter_mut().find(|open| open.index == passage);
            of_branch.expect("a passage is open while a prompt runs").answers[prompt] =
                Some(answer);
        }
        let is_done = |passage: &mut Passage| passage.answers.iter().all(Option::is_some);
        let mut done = Vec::new();
        for passage in self.passages.extract_if(.., is_done) {
            self.reserved -= passage.prefix.tokens - passage.prefix.shared;
            passage.prefix.release(engine);
            done.push((passage.index, passage.answers.into_iter().flatten().collect()));
        }
        done
    }

    /// Returns all slots.
    pub(super) fn release(self, engine: &mut Engine) {
        self.branches.into_iter().for_each(|branch| engine.release(branch.own));
        self.passages.into_iter().for_each(|passage| passage.prefix.release(engine));
    }
}

impl Prefix {
    /// Returns the slots that other passages do not share.
    fn release(&self, engine: &mut Engine) {
        engine.release(skip(&self.slots, self.shared));
    }
}

impl<'a> Branch<'a> {
    fn new(passage: &Passage, index: usize, prompt: Prompt<'a>, reserved: usize) -> Self {
        let Prompt { ids, mut decoder } = prompt;
        let next = decoder.next();
        Self {
            passage: passage.index,
            prompt: index,
            prefix: Arc::clone(&passage.prefix),
            own: Vec::new(),
            stored: 0,
            pending: ids[passage.prefix.tokens..].to_vec(),
            reserved,
            decoder,
            next,
            answer: Answer::default(),
        }
    }

    /// Adds the pending tokens to a batch, and returns the index of the last.
    fn add_to(&mut self, batch: &mut Batch, engine: &mut Engine) -> usize {
        let tokens = self.stored + self.pending.len();
        let have: usize = self.own.iter().map(ExactSizeIterator::len).sum();
        if have < tokens {
            self.own.extend(engine.take((tokens - have).max(SLOTS_AT_ONCE)));
        }
        let mut slots = self.prefix.slots.clone();
        slots.extend(first(&self.own, tokens));
        let row = batch.add(&slots, &self.pending, self.prefix.tokens + self.stored);
        self.stored = tokens;
        self.pending.clear();
        row
    }

    /// The tokens that may follow, if not any may.
    fn allowed(&self) -> &[u32] {
        match &self.next {
            Next::OneOf(allowed) => allowed,
            Next::Any | Next::Nothing => &[],
        }
    }

    /// Appends the next token, and those that must follow it. `logits` are those of all tokens if
    /// `has_all`, else those of the allowed ones.
    fn choose(&mut self, logits: &[f32], has_all: bool, engine: &Engine) -> Result<(), Stop> {
        let draw =
            Draw { passage: self.passage, prompt: self.prompt, token: self.answer.ids.len() };
        let chosen = if let Next::OneOf(allowed) = &self.next {
            let of_allowed = |id: &u32| logits[*id as usize];
            let own: Vec<f32> =
                if has_all { allowed.iter().map(of_allowed).collect() } else { logits.to_vec() };
            let chosen = choose(&own, engine.sampling, draw);
            self.answer.empty_probability += self.empty_probability(allowed, &own);
            chosen.map(|(index, p)| (allowed[index], p))
        } else {
            choose(logits, engine.sampling, draw).map(|(index, p)| (index as u32, p))
        };
        let (mut token, mut probability) =
            chosen.ok_or(Stop::NotFinite(self.passage, self.prompt))?;
        while self.append(token, probability, engine.limits.max_new_tokens) {
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

/// Number of tokens that all prompts begin with, without the last token of any.
fn common_prefix(prompts: &[Prompt]) -> usize {
    let [first, others @ ..] = prompts else { return 0 };
    let shared =
        |other: &Prompt| first.ids.iter().zip(&other.ids).take_while(|(a, b)| a == b).count();
    let longest = prompts.iter().map(|prompt| prompt.ids.len() - 1).min().unwrap_or(0);
    others.iter().map(shared).fold(longest, usize::min)
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
