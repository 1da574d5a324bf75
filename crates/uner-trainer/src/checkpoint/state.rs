//! What a run must know to go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::state::{RunId, Standing};
use crate::step::guards::GuardState;
use crate::step::schedule::lr_at;

/// Version of the checkpoint layout.
pub const FORMAT_VERSION: u32 = 1;

/// Keys of `[train]` that change how a run is laid out, saved and watched, but not what it
/// computes.
const MAY_DIFFER: [&str; 7] = [
    "micro_batch_rows",
    "save_every",
    "keep_last",
    "validate_every",
    "checkpoint",
    "best",
    "guards",
];
/// The value of a key that is not there.
const UNSET: &str = "not set";
/// Keys that say how long a run is.
const LENGTH: [&str; 2] = ["train.epochs", "train.max_steps"];

/// The run that wrote a checkpoint; `None` where that cannot be read, or was written before runs
/// had names.
pub(super) fn run_of(checkpoint: &Path) -> Option<RunId> {
    #[derive(Deserialize)]
    struct Named {
        run: Option<RunId>,
    }
    let text = fs_err::read(checkpoint.join("state.json")).ok()?;
    serde_json::from_slice::<Named>(&text).ok()?.run
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The run that wrote it.
    #[serde(default)]
    pub run: Option<RunId>,
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
    /// Refuses to go on from `self`, read at `path`, as `wanted`, where that would not be the same
    /// run.
    ///
    /// What may differ: how often it saves and evaluates, what it compares, how rows are laid out,
    /// and what guards do about bad steps. How long it is may differ where `is_set` says that the
    /// key was set for this very resumption: over `conversations` the learning rate depends on it,
    /// and what becomes of that is returned.
    ///
    /// # Errors
    /// Names what differs and both values.
    pub fn check_resumable(
        &self,
        wanted: &State,
        conversations: usize,
        is_set: impl Fn(&str) -> bool,
        path: &Path,
    ) -> Result<Option<String>, TrainError> {
        let refuse =
            |problem: String| Err(TrainError::Checkpoint { path: path.to_owned(), problem });
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
        let seed = (self.seed != wanted.seed)
            .then(|| ("run.seed".to_owned(), self.seed.to_string(), wanted.seed.to_string()));
        let differences = seed.into_iter().chain(differences(&self.train, &wanted.train));
        let mut longer = None;
        for (key, then, now) in differences {
            let changed = format!("`{key}` was `{then}` and is now `{now}`");
            if !LENGTH.contains(&key.as_str()) {
                return refuse(format!(
                    "{changed}; set it back, or start a new run with `model.weights` set to this folder"
                ));
            }
            let [before, after] =
                [self, wanted].map(|state| lr_at(&state.train, self.step, conversations));
            if before == after {
                continue;
            }
            let rates = format!(
                "the learning rate of the next step would have been {before:.3e} and will be {after:.3e}"
            );
            if !is_set(&key) {
                let back = if then == UNSET {
                    "take it out".to_owned()
                } else {
                    format!("set it back to `{then}`")
                };
                let again = if now == UNSET {
                    String::new()
                } else {
                    format!(", or say so again with `--set {key}={now}`")
                };
                return refuse(format!("{changed}: {rates}; {back}{again}"));
            }
            longer = Some(format!("{changed}: {rates}"));
        }
        Ok(longer)
    }
}

/// The keys of two configurations that differ, with both values, but for those that may.
fn differences(then: &TrainConfig, now: &TrainConfig) -> Vec<(String, String, String)> {
    let [then, now] = [then, now].map(|config| {
        // Not to write it means the defaults.
        let config =
            TrainConfig { precision: Some(config.precision.unwrap_or_default()), ..config.clone() };
        let mut value = serde_json::to_value(config).expect("a configuration is JSON");
        if let Value::Object(table) = &mut value {
            table.retain(|key, _| !MAY_DIFFER.contains(&key.as_str()));
        }
        serde_json::json!({"train": value})
    });
    changed_keys(&then, &now)
}

/// The keys of two tables whose values differ, by their whole names such as `train.lr`, with both
/// values as text; a list is one value, and what is not there is `not set`.
pub fn changed_keys(then: &Value, now: &Value) -> Vec<(String, String, String)> {
    let [then, now] = [then, now].map(|value| {
        let mut keys = BTreeMap::new();
        flatten("", value, &mut keys);
        keys
    });
    let all: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let shown = |keys: &BTreeMap<String, String>, key: &String| {
        keys.get(key).map_or(UNSET, String::as_str).to_owned()
    };
    let changed = all.into_iter().filter(|key| then.get(*key) != now.get(*key));
    changed.map(|key| (key.clone(), shown(&then, key), shown(&now, key))).collect()
}

/// Every value of a table under its whole name.
fn flatten(name: &str, value: &Value, keys: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let whole = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&whole, value, keys);
            }
        }
        Value::String(text) => drop(keys.insert(name.to_owned(), text.clone())),
        other => drop(keys.insert(name.to_owned(), other.to_string())),
    }
}
