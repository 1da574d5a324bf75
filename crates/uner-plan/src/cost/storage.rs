//! What the memory plan needs to know of how a run stores its numbers and shares them out.

use burn::tensor::DType;
use serde::{Deserialize, Serialize};
use uner_kernels::adamw::code::{GRANULE, GRANULE_WORDS};
use uner_kernels::device::DeviceName;
use uner_model::{AdapterConfig, BaseFormat, LlamaConfig};
use uner_trainer::step::precision;
use uner_trainer::{MomentFormat, PrecisionConfig, Rounding};

/// Values of a packed weight that share one scale.
const WEIGHT_BLOCK: f64 = 64.0;
/// Bytes of an f32.
const FLOAT: f64 = 4.0;
/// Bytes of a bf16.
const HALF: f64 = 2.0;

/// Bytes of each kind of number: what a precision policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// A trained parameter as the model computes with it.
    pub parameter: f64,
    /// Its gradient.
    pub gradient: f64,
    /// What the parameter lacks of the f32 value that updates are applied to; 0 where it is all
    /// there is.
    pub master: f64,
    /// Both moments together.
    pub moments: f64,
    /// An activation, or the gradient of one.
    pub activation: f64,
    /// What a checkpoint is written from while training goes on, where that copy is in the same
    /// memory.
    pub snapshot: f64,
}

impl Storage {
    /// Everything in f32: a CPU, where parameters and moments are copied for a checkpoint.
    pub const F32: Self = Self {
        parameter: FLOAT,
        gradient: FLOAT,
        master: 0.0,
        moments: 2.0 * FLOAT,
        activation: FLOAT,
        snapshot: 3.0 * FLOAT,
    };

    /// bf16 parameters and activations, f32 gradients and moments, and 16 bits for each parameter,
    /// with which it is an f32: a GPU.
    pub const MIXED: Self = Self {
        parameter: HALF,
        gradient: FLOAT,
        master: HALF,
        moments: 2.0 * FLOAT,
        activation: HALF,
        snapshot: 0.0,
    };

    /// How a device stores what is trained on it where the recipe does not say otherwise; a GPU
    /// that is not on this machine is assumed to compute in bf16.
    pub fn on(name: DeviceName) -> Self {
        let is_short = name
            .open()
            .map_or(!name.is_host(), |device| precision::parameters(&device) != DType::F32);
        match (is_short, name.is_host()) {
            (true, _) => Self::MIXED,
            (false, true) => Self::F32,
            // Checkpoints are written from the host's memory.
            (false, false) => Self { snapshot: 0.0, ..Self::F32 },
        }
    }

    /// With what a recipe stores in fewer bits.
    #[must_use]
    pub fn with(self, config: PrecisionConfig) -> Self {
        let moments = match config.moments {
            MomentFormat::Float => self.moments,
            MomentFormat::EightBit => FLOAT * GRANULE_WORDS as f64 / GRANULE as f64,
        };
        let (parameter, master) = match config.rounding {
            Rounding::Nearest => (self.parameter, self.master),
            Rounding::Stochastic => (HALF, 0.0),
        };
        let snapshot = if self.snapshot > 0.0 { parameter + moments } else { 0.0 };
        Self { parameter, master, moments, snapshot, ..self }
    }
}

/// Bytes of a value that has `bytes` of its own and a share of its block's scale.
fn scaled(bytes: f64) -> f64 {
    bytes + FLOAT / WEIGHT_BLOCK
}

/// An adapter that is trained in place of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OnFrozen<'a> {
    /// The adapter.
    pub adapter: &'a AdapterConfig,
    /// What the matrices of the frozen model's blocks are stored in; `None` for what parameters
    /// are.
    pub base: Option<BaseFormat>,
}

impl OnFrozen<'_> {
    /// Bytes of a value of a block's matrices.
    pub(super) fn matrix_value(self, storage: Storage) -> f64 {
        match self.base {
            None => storage.parameter,
            Some(BaseFormat::EightBit) => scaled(1.0),
            Some(BaseFormat::FourBit) => scaled(0.5),
        }
    }

    /// Bytes of a value of the embedding, the head and the norms: bf16 beside packed matrices.
    pub(super) fn other_value(self, storage: Storage) -> f64 {
        if self.base.is_some() { HALF } else { storage.parameter }
    }
}

/// Channels of all query heads, and of all key (or value) heads.
pub(super) fn channels(model: &LlamaConfig) -> (usize, usize) {
    (model.num_attention_heads * model.head_dim, model.num_key_value_heads * model.head_dim)
}
