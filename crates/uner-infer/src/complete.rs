//! Chats that a model continues freely, as a teacher does.

use std::ops::ControlFlow;

use crate::error::InferError;
use crate::jobs::{Chat, Completion, Job, JobInput, Outcome};
use crate::predict::Predictor;

impl Predictor<'_> {
    /// Continues chats in the words of the model's template, without constraints. Takes a chat when
    /// there is room for it, and reports each by its position, in any order. One that does not fit
    /// the model has an error; the others are continued.
    ///
    /// # Errors
    /// [`InferError::Stopped`] when `finished` breaks; when logits are not finite.
    pub fn complete(
        &self,
        chats: impl IntoIterator<Item = Chat>,
        mut finished: impl FnMut(usize, Result<Completion, InferError>) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        let jobs = chats.into_iter().map(|chat| Job::new(JobInput::Chat(chat, None)));
        self.run_jobs(jobs, usize::MAX, |index, outcome| {
            let Outcome::Chat(outcome) = outcome else { unreachable!("no documents") };
            finished(index, outcome)
        })
    }
}
