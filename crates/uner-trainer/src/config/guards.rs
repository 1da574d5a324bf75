//! Answers to a step that would damage the model.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Optional guards. Without them, only a loss or gradient norm that is not finite stops the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardsConfig {
    /// Action on a loss or gradient norm that is not finite: stop or skip.
    pub non_finite: GuardAction,
    /// Action on a loss that jumps.
    pub spike: GuardAction,
    /// The loss jumps if it is more than this many standard deviations above the window's mean.
    pub spike_z: f64,
    /// Steps in the window of earlier losses; no jump is detected before it is full.
    pub spike_window: usize,
}

/// Action on a step that a guard has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardAction {
    /// End the run with an error, without applying the step.
    Stop,
    /// Leave weights and moments unchanged, and continue with the next step.
    Skip,
    /// Apply the step, and report it.
    Ignore,
}

impl GuardsConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// Names the first key whose value is invalid.
    pub fn check(&self) -> Result<(), ConfigError> {
        let problem = |key, problem: String| Err(ConfigError { key, problem });
        if self.non_finite == GuardAction::Ignore {
            let why = "must be `stop` or `skip`: a step that is not finite would destroy the model";
            return problem("guards.non_finite", why.to_owned());
        }
        if !(self.spike_z > 0.0 && self.spike_z.is_finite()) {
            return problem(
                "guards.spike_z",
                format!("must be a positive number, not `{}`", self.spike_z),
            );
        }
        if self.spike_window < 2 {
            return problem(
                "guards.spike_window",
                format!("must be at least 2, not `{}`", self.spike_window),
            );
        }
        Ok(())
    }
}
