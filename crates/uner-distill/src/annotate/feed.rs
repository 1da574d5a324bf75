//! The requests of a run, made when the teacher takes them.

use std::cell::RefCell;
use std::collections::HashMap;

use uner_endpoint::Request;

use crate::error::DistillError;
use crate::folder::{Index, Passages, Shard};
use crate::teacher::PromptVersion;

/// The ids of passages whose requests were taken and are not answered, by position of the request.
type Pending = RefCell<HashMap<usize, String>>;

/// Requests about the passages that have no answer.
pub(super) struct Feed<'a> {
    passages: std::iter::Zip<std::ops::RangeFrom<u64>, Passages>,
    shard: Option<Shard>,
    prompt: PromptVersion,
    answers: &'a Index,
    pending: &'a Pending,
    /// The problem of a passage, which ends the requests.
    error: &'a RefCell<Option<DistillError>>,
    taken: usize,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        passages: Passages,
        shard: Option<Shard>,
        prompt: PromptVersion,
        answers: &'a Index,
        (pending, error): (&'a Pending, &'a RefCell<Option<DistillError>>),
    ) -> Self {
        let passages = (0..).zip(passages);
        Self { passages, shard, prompt, answers, pending, error, taken: 0 }
    }
}

impl Iterator for Feed<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        loop {
            let (position, passage) = self.passages.next()?;
            let passage = match passage {
                Ok(passage) => passage,
                Err(problem) => {
                    self.error.borrow_mut().get_or_insert(problem);
                    return None;
                }
            };
            let is_ours = self.shard.is_none_or(|shard| shard.contains(position));
            if !is_ours || self.answers.contains(&passage.id) {
                continue;
            }
            let request = self.prompt.request(&passage.text);
            self.pending.borrow_mut().insert(self.taken, passage.id);
            self.taken += 1;
            return Some(request);
        }
    }
}
