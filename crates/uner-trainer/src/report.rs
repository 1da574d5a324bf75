//! What is reported of a step that must not be applied, or came out differently.

use serde::{Deserialize, Serialize};

use crate::config::Answer;

/// A step that a guard has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// What is wrong, as a sentence without its end.
    pub problem: String,
    /// Mean loss of the trained tokens, nats; `null` where it is not finite.
    pub loss: Option<f64>,
    /// Norm of its gradient; `null` where it is not finite.
    pub grad_norm: Option<f64>,
    /// How many standard deviations the loss is above the mean of the window, for a jump.
    pub z: Option<f64>,
    /// What is done about it.
    pub answer: Answer,
    /// Steps skipped so far, this one included.
    pub skipped: u64,
    /// The conversations of the step, those with the highest loss first.
    pub conversations: Vec<Suspect>,
}

/// A conversation of a step that a guard has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Its index in the training data.
    pub index: usize,
    /// Mean loss of its trained tokens, nats, under the weights before the step, or after it where
    /// the step is applied all the same; `null` where it is not finite.
    pub loss: Option<f64>,
}

/// A parameter whose gradient was another the second time.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its name in checkpoints, or `loss`.
    pub name: String,
    /// How many of its numbers differ.
    pub differing: usize,
    /// Of so many.
    pub count: usize,
    /// The largest difference; NaN where one of two is no number.
    pub largest: f32,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, differing, count, largest } = self;
        write!(out, "`{name}`: {differing} of {count} numbers, by at most {largest:e}")
    }
}
