//! Reports of a step that a guard found, or whose two computations differ.

use serde::{Deserialize, Serialize};

use crate::config::GuardAction;

/// A step that a guard has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// The problem, as a sentence without a full stop.
    pub problem: String,
    /// Mean loss of the trained tokens, nats; `null` if it is not finite.
    pub loss: Option<f64>,
    /// Norm of the mean loss's gradient; `null` if it is not finite.
    pub grad_norm: Option<f64>,
    /// For a jump: how many standard deviations the loss is above the mean of the window.
    pub z: Option<f64>,
    /// The run's answer to the step.
    pub answer: GuardAction,
    /// Steps skipped so far, this one included.
    pub skipped: u64,
    /// The conversations of the step, highest loss first.
    pub conversations: Vec<Suspect>,
}

/// A conversation of a step that a guard has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Its index in the training data.
    pub index: usize,
    /// Mean loss of its trained tokens, nats, with the weights before the step (after it, if the
    /// guard applied the step); `null` if it is not finite.
    pub loss: Option<f64>,
}

/// A parameter whose gradient differs between two computations, or the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its name in checkpoints, or `loss`.
    pub name: String,
    /// Number of elements that differ.
    pub differing: usize,
    /// Number of all elements.
    pub count: usize,
    /// The largest difference; NaN if one of the two values is NaN or missing.
    pub largest: f32,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, differing, count, largest } = self;
        write!(out, "`{name}`: {differing} of {count} numbers, by at most {largest:e}")
    }
}
