//! Entities of documents, one after the other.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use uner_data::predictions::{PredictedEntity, Prediction};

use crate::error::InferError;
use crate::jobs::{Job, JobInput, Outcome, Problem, Request};
use crate::predict::Predictor;

impl Predictor<'_> {
    /// The entities of a text, sorted by position: every occurrence as a whole word of each mention
    /// that the model names.
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use uner_infer::Predictor;
    ///
    /// let folder = std::path::Path::new("checkpoints/quickstart/step-003250");
    /// let model = Predictor::load(folder, &Device::flex())?;
    /// for entity in model.predict("Tim Cook runs Apple.", &["person", "organization"])? {
    ///     println!("{} {:?} {:?}", entity.entity_type, entity.span, entity.probability);
    /// }
    /// # Ok::<(), uner_infer::InferError>(())
    /// ```
    ///
    /// # Errors
    /// When a type does not fit the model's window, or logits are not finite.
    pub fn predict(&self, text: &str, types: &[&str]) -> Result<Vec<PredictedEntity>, InferError> {
        let types = types.iter().map(ToString::to_string).collect();
        let request = Request { id: String::new(), text: text.to_owned(), types };
        let mut found = Ok(Vec::new());
        self.in_order([request], |prediction, problem| {
            found = match problem {
                Some(Problem::Unanswered(problem)) => Err(InferError::Text(problem)),
                Some(Problem::Flawed(problem)) => {
                    tracing::warn!("{problem}");
                    Ok(prediction.entities)
                }
                None => Ok(prediction.entities),
            };
            ControlFlow::Continue(())
        })?;
        found
    }

    /// Searches documents, and passes their predictions to `done` in order. Documents are only
    /// taken from the iterator when there is room for them. A text that is too long for the model
    /// is cut into overlapping windows at sentence ends, and what is found in them is merged. A
    /// document that cannot be answered gets a prediction with the problem.
    ///
    /// # Errors
    /// When `done` breaks, or logits are not finite.
    pub fn extract(
        &self,
        requests: impl IntoIterator<Item = Request>,
        mut done: impl FnMut(Prediction) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        self.in_order(requests, |prediction, problem| {
            done(Prediction { problem: problem.map(Problem::into_message), ..prediction })
        })
    }

    /// [`Self::extract`], with the problem of each document beside its prediction.
    fn in_order(
        &self,
        requests: impl IntoIterator<Item = Request>,
        mut done: impl FnMut(Prediction, Option<Problem>) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        let jobs = requests.into_iter().map(|request| Job::new(JobInput::Document(request)));
        let mut early = BTreeMap::new();
        let mut next = 0;
        // One document is cut at a time, so few results wait for an earlier one.
        self.run_jobs(jobs.fuse(), 1, |index, outcome| {
            let Outcome::Document(prediction, problem) = outcome else { unreachable!("no chats") };
            early.insert(index, (prediction, problem));
            while let Some((prediction, problem)) = early.remove(&next) {
                next += 1;
                done(prediction, problem)?;
            }
            ControlFlow::Continue(())
        })
    }
}
