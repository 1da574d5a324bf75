//! What a pass of the model gets besides its tokens.

use burn::tensor::{Device, Int, Tensor};
use uner_kernels::{CacheLayout, RotaryTable, Visibility};

use crate::config::LlamaConfig;

/// Inputs of every block besides the hidden states.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The model's dimensions.
    pub config: &'a LlamaConfig,
    /// Number of rows in the batch.
    pub rows: usize,
    /// Rotation angles of every token's position.
    pub rotary: RotaryTable,
    /// Which tokens see which.
    pub pattern: AttentionPattern,
    /// Dropout on the inputs of an adapter; `None` outside training.
    pub dropout: Option<Dropout>,
}

/// Which tokens see which.
#[derive(Debug, Clone)]
pub enum AttentionPattern {
    /// Tokens see tokens of the same call.
    Packed(Box<Visibility>),
    /// Tokens continue sequences in a cache.
    Cached(CacheLayout),
}

/// Dropout on the inputs of an adapter. The keys and the layer determine which inputs are dropped,
/// so a recomputed block drops the same ones.
#[derive(Debug, Clone)]
pub struct Dropout {
    /// One key per token, `[rows · tokens]`.
    pub keys: Tensor<1, Int>,
    /// Share of the inputs that become 0.
    pub probability: f64,
}

impl<'a> Context<'a> {
    /// Creates the context of `rows` rows of equal length; `positions` lists them row by row.
    pub fn new(
        config: &'a LlamaConfig,
        positions: &[i32],
        rows: usize,
        visibility: Visibility,
        device: &Device,
    ) -> Self {
        let pattern = AttentionPattern::Packed(Box::new(visibility));
        Self {
            config,
            rows,
            rotary: rotary(config, positions, rows, device),
            pattern,
            dropout: None,
        }
    }

    /// Creates the context of new tokens of sequences in a cache, with their positions in these.
    pub fn cached(
        config: &'a LlamaConfig,
        positions: &[i32],
        layout: CacheLayout,
        device: &Device,
    ) -> Self {
        let pattern = AttentionPattern::Cached(layout);
        Self {
            config,
            rows: 1,
            rotary: rotary(config, positions, 1, device),
            pattern,
            dropout: None,
        }
    }
}

fn rotary(config: &LlamaConfig, positions: &[i32], rows: usize, device: &Device) -> RotaryTable {
    RotaryTable::new(positions, rows, &config.inverse_frequencies(), device)
        .scaled(config.rope_attention_factor())
}
