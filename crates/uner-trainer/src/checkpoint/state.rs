//! What a run must know to go on.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::best::Standing;
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::guards::GuardState;

/// Version of the checkpoint layout.
pub const FORMAT_VERSION: u32 = 1;

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Steps done. The order of the data is a function of (seed, step), so this is also the cursor.
    pub step: u64,
    /// Seed of the run.
    pub seed: u64,
    /// CRC-32 of the encoded training data: template, tokenizer, negatives and texts all count.
    pub data_fingerprint: u32,
    /// How good it is so far.
    #[serde(default)]
    pub standing: Standing,
    /// What the guards remember.
    #[serde(default)]
    pub guard: GuardState,
    /// Whether blocks are divided among the ranks: sums are in another order then.
    #[serde(default)]
    pub divided: bool,
    /// How the model is trained.
    pub train: TrainConfig,
}

impl State {
    /// Refuses to go on from `self`, read at `path`, as `wanted`, where that would not be the same run.
    ///
    /// What may differ: how long the run is, how often it saves and evaluates, what it compares, how rows are laid out, and
    /// what guards do about bad steps.
    ///
    /// # Errors
    /// Names what differs and both values.
    pub fn check_resumable(&self, wanted: &State, path: &Path) -> Result<(), TrainError> {
        let refuse = |problem: String| Err(TrainError::Checkpoint { path: path.to_owned(), problem });
        if self.format_version != wanted.format_version {
            return refuse(format!(
                "it has the format version {}, this program writes {}; resume with the program that wrote it",
                self.format_version, wanted.format_version
            ));
        }
        if self.data_fingerprint != wanted.data_fingerprint {
            return refuse(format!(
                "the training data has changed since (fingerprint {:08x}, now {:08x}); restore the data, template and \
                 tokenizer, or start a new run with `model.weights` set to this folder",
                self.data_fingerprint, wanted.data_fingerprint
            ));
        }
        let (then, now) = (&self.train, &wanted.train);
        let [before, after] = [then, now].map(|train| train.precision.unwrap_or_default());
        let fields = [
            ("run.seed", self.seed.to_string(), wanted.seed.to_string()),
            (
                "train.global_batch_size",
                then.global_batch_size.to_string(),
                now.global_batch_size.to_string(),
            ),
            ("train.max_seq_len", then.max_seq_len.to_string(), now.max_seq_len.to_string()),
            ("train.lr", then.lr.to_string(), now.lr.to_string()),
            ("train.schedule", format!("{:?}", then.schedule), format!("{:?}", now.schedule)),
            ("train.epochs", then.epochs.to_string(), now.epochs.to_string()),
            ("train.warmup_ratio", then.warmup_ratio.to_string(), now.warmup_ratio.to_string()),
            ("train.weight_decay", then.weight_decay.to_string(), now.weight_decay.to_string()),
            ("train.beta1", then.beta1.to_string(), now.beta1.to_string()),
            ("train.beta2", then.beta2.to_string(), now.beta2.to_string()),
            ("train.eps", then.eps.to_string(), now.eps.to_string()),
            ("train.max_grad_norm", then.max_grad_norm.to_string(), now.max_grad_norm.to_string()),
            ("train.precision.moments", before.moments.to_string(), after.moments.to_string()),
            ("train.precision.rounding", before.rounding.to_string(), after.rounding.to_string()),
        ];
        match fields.into_iter().find(|(_, then, now)| then != now) {
            None => Ok(()),
            Some((key, then, now)) => refuse(format!(
                "`{key}` was `{then}` and is now `{now}`; set it back, or start a new run with `model.weights` set to this folder"
            )),
        }
    }
}
