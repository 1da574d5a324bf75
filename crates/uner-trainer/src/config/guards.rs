//! `[train.guards]`: what is done about a step that would spoil the model.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The optional `[train.guards]` table. Without it, a loss or gradient that is not finite stops the
/// run and nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardsConfig {
    /// What to do when the loss or the gradient norm is not finite: stop or skip.
    pub non_finite: Answer,
    /// What to do when the loss jumps.
    pub spike: Answer,
    /// How many standard deviations above the mean of the window are a jump.
    pub spike_z: f64,
    /// Steps of the window; no loss is a jump before as many were seen.
    pub spike_window: usize,
}

/// What to do with a step that a guard has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// End the run with an error; the step is not applied.
    Stop,
    /// Leave weights and moments as they are and go on with the next step.
    Skip,
    /// Apply the step; it is only told.
    Ignore,
}

impl GuardsConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// Names the first such key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let problem = |key, problem: String| Err(ConfigError { key, problem });
        if self.non_finite == Answer::Ignore {
            let why = "must be \"stop\" or \"skip\": a step that is no number would end the model";
            return problem("guards.non_finite", why.to_owned());
        }
        if !(self.spike_z > 0.0 && self.spike_z.is_finite()) {
            return problem(
                "guards.spike_z",
                format!("must be a positive number, not {}", self.spike_z),
            );
        }
        if self.spike_window < 2 {
            return problem(
                "guards.spike_window",
                format!("must be at least 2, not {}", self.spike_window),
            );
        }
        Ok(())
    }
}
