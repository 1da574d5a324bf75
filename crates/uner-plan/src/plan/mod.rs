//! The plan of a run: everything that is decided before it starts, as one value.
//!
//! A dry run prints it, the run's folder and every checkpoint contain it as `plan.toml`, rank 0
//! sends it to the other ranks, and a resumed run compares its plan with that of its checkpoint.

mod build;
mod describe;
mod describe_cost;
mod evaluation;
mod file;
mod resume;

pub use file::PLAN;

use serde::{Deserialize, Serialize};
use uner_model::{LlamaConfig, Size};
use uner_trainer::data::store::Summary;

use crate::cost::{Layout, Memory, Storage, TokenFlops};
use crate::machine::Machine;
use crate::recipe::Recipe;

/// Everything that a run does, and its cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The recipe as written, `--set` included.
    pub recipe: Recipe,
    /// The data: its size, its splits and their files.
    pub data: Data,
    /// Length of the run; `None` in a dry run whose data has no known size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// The layout of a step; if none fits, the one that takes the least memory.
    pub layout: Layout,
    /// Bytes of a parameter, a gradient, an activation, and so on.
    pub precision: Storage,
    /// Bytes on one device at the peak of a step.
    pub memory: Memory,
    /// Floating-point operations per token.
    pub flops: TokenFlops,
    /// The device of a rank, and how many ranks there are.
    pub machine: Machine,
    /// The template and the tokenizer.
    pub prompt: Prompt,
    /// The model's dimensions.
    pub model: LlamaConfig,
    /// The model's parameter counts.
    pub parameters: Size,
}

/// The data of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// How much there is to train on.
    pub size: DataSize,
    /// The splits that are trained on.
    pub train: Vec<Split>,
    /// The splits that the validation loss is computed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<Split>,
    /// The splits that the trained model is measured on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benchmarks: Vec<Split>,
}

/// A split of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the split.
    pub split: String,
    /// Its files; empty for a generated corpus.
    pub files: Vec<SplitFile>,
}

/// A file of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFile {
    /// Its path, for readers of the plan: bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Its size; 0 if it does not exist.
    pub bytes: u64,
}

/// Template and tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Name and fingerprint of the template.
    pub template: String,
    /// The tokenizer's file; `None` if the run trains one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

/// How much there is to train on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataSize {
    /// Encoded and counted.
    Counted {
        /// Conversations.
        conversations: usize,
        /// Their tokens.
        tokens: u64,
        /// Tokens that carry loss.
        trained_tokens: u64,
        /// CRC-32 of the encoded conversations.
        fingerprint: u32,
    },
    /// The files do not exist; the recipe sets `data.expected_conversations`.
    Expected {
        /// Conversations.
        conversations: usize,
    },
    /// The files do not exist, and the recipe does not set the number of conversations.
    Unknown,
}

impl From<&Summary> for DataSize {
    fn from(summary: &Summary) -> Self {
        let Summary { conversations, tokens, trained_tokens, fingerprint, .. } = *summary;
        Self::Counted { conversations, tokens, trained_tokens, fingerprint }
    }
}

/// The length of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// Optimizer steps of one pass over the data.
    pub per_epoch: u64,
    /// Optimizer steps of the run.
    pub total: u64,
    /// Steps of the warm-up, in which the learning rate rises.
    pub warmup: u64,
    /// Tokens of a step without padding: the mean if the data was counted, otherwise an upper
    /// bound.
    pub tokens: f64,
}

impl Plan {
    /// Whether the run fits into the memory that it may use.
    pub fn fits(&self) -> bool {
        self.memory.total() <= self.machine.memory.usable
    }

    /// Floating-point operations of the run, recomputation included; `None` without its length.
    pub fn operations(&self) -> Option<f64> {
        let steps = self.steps?;
        Some(self.flops.executed * steps.total as f64 * steps.tokens)
    }

    /// Seconds that the run's matrix products take; `None` without its length.
    pub fn seconds(&self) -> Option<f64> {
        let rows = self.layout.micro_batch_rows.get() * self.recipe.train.max_seq_len;
        let rate = self.machine.rates.matmul(rows) * self.machine.ranks as f64;
        Some(self.operations()? / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Ranks;
    use crate::sources::Sources;

    /// The plan of the recipe `zero-shot` on a machine, for about as much data as it has.
    pub(super) fn plan_on(machine: Machine) -> Plan {
        let recipe = toml::from_str(crate::builtin::recipe("zero-shot").unwrap()).unwrap();
        let size = DataSize::Counted {
            conversations: 45_000,
            tokens: 36_000_000,
            trained_tokens: 6_000_000,
            fingerprint: 7,
        };
        Plan::new(&Sources::find(recipe).unwrap(), size, machine, None)
    }

    /// That plan on a machine that is not here.
    pub(super) fn plan() -> Plan {
        let recipe: Recipe = toml::from_str(crate::builtin::recipe("zero-shot").unwrap()).unwrap();
        let devices = &recipe.run.device;
        plan_on(Machine::elsewhere(devices, None, Ranks::of_one_process(devices)))
    }

    #[test]
    fn a_plan_reads_back_as_it_was() {
        let plan = plan();
        let text = plan.to_toml();
        assert_eq!(Plan::parse(&text, "plan.toml".as_ref()).unwrap(), plan, "{text}");
        let recorded = plan.recorded().unwrap();
        assert!(recorded.recipe.run.dir.is_absolute());
        assert_eq!(Plan::parse(&recorded.to_toml(), "x".as_ref()).unwrap(), recorded);
        let error = Plan::parse("layout = 1", "run/plan.toml".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("run/plan.toml: it is not the plan of a run: "), "{error}");
    }

    #[test]
    fn a_resumed_run_that_does_not_fit_is_advised_to_take_fewer_rows() {
        let recipe = toml::from_str(crate::builtin::recipe("zero-shot").unwrap()).unwrap();
        let sources = Sources::find(recipe).unwrap();
        let fresh = plan();
        let rows = std::num::NonZeroUsize::new(4096).unwrap();
        let had = Layout { micro_batch_rows: rows, ..fresh.layout };
        let resumed = Plan::new(&sources, fresh.data.size, fresh.machine.clone(), Some(had));
        assert!(fresh.fits() && !resumed.fits());
        let problem = resumed.problem().unwrap();
        assert!(problem.contains("`train.micro_batch_rows` = "), "{problem}");
    }

    #[test]
    fn a_resumed_run_keeps_its_micro_batches_and_what_is_sharded() {
        let recipe = toml::from_str(crate::builtin::recipe("zero-shot").unwrap()).unwrap();
        let sources = Sources::find(recipe).unwrap();
        let fresh = plan();
        let rows = std::num::NonZeroUsize::new(2).unwrap();
        let had = Layout { micro_batch_rows: rows, ..fresh.layout };
        let again = |had| Plan::new(&sources, fresh.data.size, fresh.machine.clone(), Some(had));
        assert_ne!(fresh.layout.micro_batch_rows, rows);
        assert_eq!(again(had).layout.micro_batch_rows, rows);
        let had = Layout { sharding: crate::cost::Sharding::Zero3, ..had };
        assert_eq!(again(had).layout.sharding, crate::cost::Sharding::Zero3);
    }
}
