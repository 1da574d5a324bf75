//! The passages and prompts of one run of an engine.

use std::collections::VecDeque;
use std::iter::Enumerate;
use std::ops::ControlFlow;
use std::sync::Arc;

use rayon::prelude::*;
use uner_kernels::cached_attention::Sequence;

use super::batch::{Batch, all_logits, some_logits};
use super::branch::{Branch, Prefix, SLOTS_AT_ONCE};
use super::decoder::Next;
use super::{Answer, Engine, Prompt, Stop};

/// New tokens of a step at which no further prompt joins it: enough to keep matrix products busy.
const TOKENS_PER_STEP: usize = 1024;

/// The state of a run.
pub(super) struct Run<'p, I> {
    coming: Enumerate<I>,
    /// Passages with prompts that run or wait, in their order.
    passages: Vec<Passage<'p>>,
    branches: Vec<Branch<'p>>,
    /// Prompts that have begun and wait for slots.
    paused: VecDeque<Branch<'p>>,
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

impl<'p, I: Iterator<Item = Vec<Prompt<'p>>>> Run<'p, I> {
    pub(super) fn new(passages: I) -> Self {
        Self {
            coming: passages.enumerate(),
            passages: Vec::new(),
            branches: Vec::new(),
            paused: VecDeque::new(),
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
        let (mut tokens, mut slots) = (pending.chain(new).sum::<usize>(), self.slots());
        while tokens < TOKENS_PER_STEP && self.branches.len() < engine.limits.prompts.max(1) {
            let Some(branch) = self.paused.pop_front().or_else(|| self.waiting()) else {
                let Some(new) = self.open_passage(engine) else { break };
                tokens += new;
                slots += new;
                continue;
            };
            if branch.next == Next::Nothing {
                self.settle(branch);
                continue;
            }
            // Every running prompt may take slots again before one ends.
            let room = (self.branches.len() + 1) * SLOTS_AT_ONCE;
            let is_full = slots + branch.slots() + room > engine.limits.slots;
            if is_full && !self.branches.is_empty() {
                self.paused.push_front(branch);
                break;
            }
            tokens += branch.pending.len();
            slots += branch.slots();
            self.branches.push(branch);
        }
    }

    /// The next prompt of the passages that are open.
    fn waiting(&mut self) -> Option<Branch<'p>> {
        let passage = self.passages.iter_mut().find(|passage| !passage.waiting.is_empty())?;
        let (index, prompt) = passage.waiting.pop_front()?;
        Some(Branch::new(passage.index, index, prompt, &passage.prefix))
    }

    /// Number of slots that are taken after the next step.
    fn slots(&self) -> usize {
        let passages = self.passages.iter().map(|passage| passage.prefix.own());
        passages.chain(self.branches.iter().map(Branch::slots)).sum()
    }

    /// Pauses the latest prompts while the next step needs too many slots. One always runs.
    fn make_room(&mut self, engine: &mut Engine) {
        while self.slots() > engine.limits.slots && self.branches.len() > 1 {
            let mut last = self.branches.pop().expect("more than one prompt");
            last.pause(engine);
            self.paused.push_front(last);
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
        let prefix = Arc::new(Prefix { slots, tokens: shared + count, shared });
        let answers = vec![None; prompts.len()];
        let waiting = prompts.into_iter().enumerate().collect();
        self.passages.push(Passage { index, prefix, new, waiting, answers });
        Some(count)
    }

    /// Computes the new tokens of every running prompt, and chooses their next ones.
    fn step(&mut self, engine: &mut Engine) -> Result<(), Stop> {
        self.make_room(engine);
        let mut batch = Batch::default();
        for passage in &mut self.passages {
            if !passage.new.is_empty() {
                let new = std::mem::take(&mut passage.new);
                let shared = passage.prefix.slots.clone();
                batch.add(Sequence { shared, own: Vec::new(), new: new.len() }, &new);
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
        let own = self.branches.iter().map(|branch| {
            let count = if has_all { width } else { branch.allowed().len() };
            logits.split_off(..count).expect("logits of every prompt")
        });
        let own: Vec<&[f32]> = own.collect();
        let (sampling, most) = (engine.sampling, engine.limits.max_new_tokens);
        // What may follow an answer takes a while to find out.
        let choices = self.branches.par_iter_mut().zip(own);
        let choices = choices.map(|(branch, own)| branch.choose(own, has_all, sampling, most));
        choices.collect::<Vec<_>>().into_iter().collect()
    }

    /// Removes prompts that have ended, and passages all of whose prompts have. Returns the answers
    /// of these.
    fn close(&mut self, engine: &mut Engine) -> Vec<(usize, Vec<Answer>)> {
        let ended = self.branches.extract_if(.., |branch| branch.pending.is_empty());
        for mut branch in ended.collect::<Vec<_>>() {
            branch.release(engine);
            self.settle(branch);
        }
        let is_done = |passage: &mut Passage| passage.answers.iter().all(Option::is_some);
        let mut done = Vec::new();
        for passage in self.passages.extract_if(.., is_done) {
            passage.prefix.release(engine);
            done.push((passage.index, passage.answers.into_iter().flatten().collect()));
        }
        done
    }

    /// Keeps the answer of a prompt that has ended, or that had nothing to add.
    fn settle(&mut self, branch: Branch) {
        let of_branch = self.passages.iter_mut().find(|open| open.index == branch.passage);
        of_branch.expect("a passage is open while a prompt runs").answers[branch.prompt] =
            Some(branch.answer);
    }

    /// Returns all slots.
    pub(super) fn release(self, engine: &mut Engine) {
        self.branches.into_iter().for_each(|mut branch| branch.release(engine));
        self.passages.into_iter().for_each(|passage| passage.prefix.release(engine));
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
