//! Layout of a step on its devices. Between layouts, loss and gradients differ by rounding only.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::Sharding;

/// How a step is split into passes, and which state is sharded over the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Packed rows per forward and backward pass.
    pub micro_batch_rows: NonZeroUsize,
    /// Transformer blocks, counted from the first, whose activations are recomputed in the backward
    /// pass (activation checkpointing). The other blocks keep theirs.
    pub recomputed_blocks: usize,
    /// The state that is sharded over the ranks.
    pub sharding: Sharding,
}

impl Default for Layout {
    /// One row, all activations kept, nothing sharded.
    fn default() -> Self {
        Self { micro_batch_rows: NonZeroUsize::MIN, recomputed_blocks: 0, sharding: Sharding::None }
    }
}

/// Requested rows of a micro-batch. Training itself reads [`Layout::micro_batch_rows`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum MicroBatchRows {
    /// `"auto"`: the plan chooses.
    #[default]
    Auto,
    /// A number, at least 1.
    Fixed(NonZeroUsize),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a whole number from 1, or \"auto\"")]
enum Written {
    Number(i64),
    Word(String),
}

impl TryFrom<Written> for MicroBatchRows {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let refused = |value: &str| format!("`{value}` is not `auto` or a whole number from 1");
        match written {
            Written::Word(word) if word == "auto" => Ok(Self::Auto),
            Written::Word(word) => Err(refused(&word)),
            Written::Number(number) => usize::try_from(number)
                .ok()
                .and_then(NonZeroUsize::new)
                .map(Self::Fixed)
                .ok_or_else(|| refused(&number.to_string())),
        }
    }
}

impl From<MicroBatchRows> for Written {
    fn from(rows: MicroBatchRows) -> Self {
        match rows {
            MicroBatchRows::Auto => Self::Word("auto".to_owned()),
            MicroBatchRows::Fixed(rows) => Self::Number(rows.get() as i64),
        }
    }
}
