//! The configuration of training, as plain data.

mod best;
mod guards;
mod layout;
mod precision;
mod sharding;

pub use best::{BestConfig, Measure};
pub use guards::{GuardAction, GuardsConfig};
pub use layout::{Layout, MicroBatchRows};
pub use precision::{MomentFormat, PrecisionConfig, Rounding};
pub use sharding::Sharding;

use serde::{Deserialize, Serialize};

/// A field of [`TrainConfig`] with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`train.{key}` {problem}")]
pub struct ConfigError {
    /// The name of the field, below `train`.
    pub key: &'static str,
    /// The problem with its value; completes the sentence that begins with the key.
    pub problem: String,
}

/// How a model is trained. A key that is left out has the paper's value, or one that works on any
/// device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the data.
    pub epochs: f64,
    /// Optional: stops after this many steps, if that is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Conversations per optimizer step.
    pub global_batch_size: usize,
    /// Most tokens of a packed row, and of a conversation.
    pub max_seq_len: usize,
    /// Packed rows per forward and backward pass.
    pub micro_batch_rows: MicroBatchRows,
    /// Peak learning rate.
    pub lr: f64,
    /// How the learning rate falls after the warm-up.
    pub schedule: Schedule,
    /// Fraction of all steps over which the learning rate rises from 0.
    pub warmup_ratio: f64,
    /// Decoupled weight decay, on matrices only.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Gradient clipping: a gradient with a larger norm is scaled down to this norm.
    pub max_grad_norm: f64,
    /// Steps between two checkpoints; the last step is always saved.
    pub save_every: u64,
    /// Number of newest checkpoints to keep.
    pub keep_last: usize,
    /// Steps between two computations of the validation loss; 0 for none.
    pub validate_every: u64,
    /// Optional: saves by the clock as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointConfig>,
    /// Optional: how the best checkpoint is selected, and early stopping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<BestConfig>,
    /// Optional: answers to steps that would damage the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guards: Option<GuardsConfig>,
    /// Optional: state that is stored in fewer bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<PrecisionConfig>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 3.0,
            max_steps: None,
            global_batch_size: 32,
            max_seq_len: 1024,
            micro_batch_rows: MicroBatchRows::Auto,
            lr: 2e-5,
            schedule: Schedule::Cosine,
            warmup_ratio: 0.04,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            max_grad_norm: 1.0,
            save_every: 500,
            keep_last: 1,
            validate_every: 0,
            checkpoint: None,
            best: None,
            guards: None,
            precision: None,
        }
    }
}

/// Checkpoints by the clock, in addition to [`save_every`](TrainConfig::save_every).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Saves when the last checkpoint is this many minutes old.
    pub minutes: f64,
}

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays constant.
    Constant,
    /// Linearly to 0.
    Linear,
    /// Along half a cosine to 0.
    Cosine,
}

impl TrainConfig {
    /// Every invalid value.
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        let mut refuse = |key, is_right: bool, problem: &str, value: f64| {
            if !is_right {
                // As people write it: `1e300`, not three hundred zeros.
                let is_short = value == 0.0 || (1e-6..1e15).contains(&value.abs());
                let shown = if is_short { value.to_string() } else { format!("{value:e}") };
                found.push(ConfigError { key, problem: format!("{problem}, not `{shown}`") });
            }
        };
        for (key, count) in [
            ("global_batch_size", self.global_batch_size as u64),
            ("max_seq_len", self.max_seq_len as u64),
            ("save_every", self.save_every),
            ("keep_last", self.keep_last as u64),
            ("max_steps", self.max_steps.unwrap_or(1)),
            ("best.patience", self.best.and_then(|best| best.patience).unwrap_or(1)),
        ] {
            refuse(key, count > 0, "must be a positive number", count as f64);
        }
        // Larger factors overflow the weights, and no loss after the last step would show it.
        for (key, value, most) in [
            ("epochs", self.epochs, 1e9),
            ("lr", self.lr, 1e30),
            ("max_grad_norm", self.max_grad_norm, 1e30),
            ("eps", self.eps, 1e30),
            (
                "checkpoint.minutes",
                self.checkpoint.map_or(1.0, |checkpoint| checkpoint.minutes),
                5e8,
            ),
        ] {
            // Training computes in f32, where the value must not be 0 either.
            refuse(key, value as f32 > 0.0, "must be a positive number", value);
            refuse(
                key,
                value <= most || value.is_nan(),
                &format!("must be at most {most:e}"),
                value,
            );
        }
        for (key, value) in
            [("beta1", self.beta1), ("beta2", self.beta2), ("warmup_ratio", self.warmup_ratio)]
        {
            refuse(key, (0.0..1.0).contains(&value), "must be at least 0 and below 1", value);
        }
        let decay = self.weight_decay;
        refuse(
            "weight_decay",
            (0.0..=1e30).contains(&decay),
            "must be a number from 0 to 1e30",
            decay,
        );
        if self.best.is_some_and(|best| best.by == Measure::ValidationLoss)
            && self.validate_every == 0
        {
            let problem = "is `validation-loss`, which `train.validate_every = 0` never computes; \
                           set that to at least 1"
                .to_owned();
            found.push(ConfigError { key: "best.by", problem });
        }
        found.extend(self.guards.and_then(|guards| guards.check().err()));
        found
    }

    /// Steps of one epoch over `conversations`. As in the original, conversations that do not fill
    /// a last step are left out of the epoch. Data smaller than a step makes one step.
    pub fn steps_per_epoch(&self, conversations: usize) -> u64 {
        (conversations / self.global_batch_size).max(1) as u64
    }

    /// Steps of the run.
    pub fn total_steps(&self, conversations: usize) -> u64 {
        let steps =
            (self.epochs * self.steps_per_epoch(conversations) as f64).round().max(1.0) as u64;
        self.max_steps.map_or(steps, |max| steps.min(max))
    }
}
