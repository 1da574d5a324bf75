//! Teachers: the models that annotate passages.

mod endpoint;
mod prompts;

use std::ops::ControlFlow;

use serde_json::Value;
use uner_endpoint::{Answer, End, Estimate, Failure, Request};

pub use endpoint::{JOURNAL, open_endpoint};
pub use prompts::{PromptVersion, SYSTEM};

/// An error that ends a run of a teacher.
pub type TeacherError = Box<dyn std::error::Error + Send + Sync>;

/// Receives the events of a teacher; [`ControlFlow::Break`] interrupts it.
pub type OnTeacherEvent<'a> = dyn FnMut(TeacherEvent) -> ControlFlow<()> + 'a;

/// A model that continues chats: one behind an API ([`uner_endpoint::Client`]), or one in this
/// process.
pub trait Teacher {
    /// The model's name, for provenance.
    fn model(&self) -> &str;

    /// Everything that decides its answers, besides the request. A run is resumed only with equal
    /// settings, so an address or a number of threads is not among them.
    fn settings(&self) -> Value;

    /// Forecasts the cost of requests without answering them.
    fn estimate(&self, requests: &[Request]) -> Estimate;

    /// Answers requests, in any order. Every event has the position of its request. Takes a
    /// request only when it can start with it, so that a caller may pass millions.
    ///
    /// # Errors
    /// If the model does not work at all. A request without an answer is not an error.
    fn answer_all(
        &mut self,
        requests: &mut dyn Iterator<Item = Request>,
        on_event: &mut OnTeacherEvent<'_>,
    ) -> Result<End, TeacherError>;
}

/// A report of a teacher at work.
#[derive(Debug)]
pub enum TeacherEvent {
    /// A request is answered, or has failed for good.
    Answered {
        /// The position of the request, from 0.
        index: usize,
        /// The answer, or why it is missing.
        outcome: Result<Answer, Failure>,
    },
    /// Several times a second, also while nothing is answered.
    Progress {
        /// The money spent in this run; 0 without prices.
        money: f64,
        /// Requests in work.
        in_flight: usize,
    },
}
