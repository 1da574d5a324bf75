//! Bytes of each value that a run stores.

use burn::tensor::DType;
use serde::{Deserialize, Serialize};
use uner_kernels::adamw::code::{GRANULE, GRANULE_WORDS};
use uner_kernels::device::DeviceName;
use uner_model::{AdapterConfig, BaseFormat, LlamaConfig};
use uner_trainer::step::precision;
use uner_trainer::{MomentFormat, PrecisionConfig, Rounding};

/// Values of a packed weight that share one scale (a group).
const WEIGHT_BLOCK: f64 = 64.0;
/// Bytes of an f32.
const FLOAT: f64 = 4.0;
/// Bytes of a bf16.
const HALF: f64 = 2.0;

/// Bytes of one value of each kind, which the precision of the run decides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// A trained parameter as the model computes with it.
    pub parameter: f64,
    /// Its gradient.
    pub gradient: f64,
    /// The bits of the f32 master weight that the parameter lacks; 0 if the optimizer updates the
    /// parameter itself.
    pub master: f64,
    /// Both moments together.
    pub moments: f64,
    /// An activation, or the gradient of one.
    pub activation: f64,
    /// The copy that a checkpoint is written from while training continues; 0 if that copy is in
    /// other memory.
    pub snapshot: f64,
}

impl Storage {
    /// Everything in f32, on a CPU; a checkpoint copies parameters and moments.
    pub const F32: Self = Self {
        parameter: FLOAT,
        gradient: FLOAT,
        master: 0.0,
        moments: 2.0 * FLOAT,
        activation: FLOAT,
        snapshot: 3.0 * FLOAT,
    };

    /// Mixed precision, on a GPU: bf16 parameters and activations, f32 gradients and moments, and
    /// 16 more bits for each parameter, which make it an f32 master weight.
    pub const MIXED: Self = Self {
        parameter: HALF,
        gradient: FLOAT,
        master: HALF,
        moments: 2.0 * FLOAT,
        activation: HALF,
        snapshot: 0.0,
    };

    /// The storage that a device trains with by default. A GPU that is not on this machine is
    /// assumed to compute in bf16.
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

    /// Applies `[train.precision]` of a recipe.
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

/// Bytes of a value that has `bytes` of its own and a share of its group's scale.
fn scaled(bytes: f64) -> f64 {
    bytes + FLOAT / WEIGHT_BLOCK
}

/// An adapter that is trained instead of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OnFrozen<'a> {
    /// The adapter.
    pub adapter: &'a AdapterConfig,
    /// Format of the matrices in the frozen model's blocks; `None` for the type of parameters.
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

    /// Bytes of a value of the embedding, the head, the norms and the biases: bf16 beside packed
    /// matrices.
    pub(super) fn other_value(self, storage: Storage) -> f64 {
        if self.base.is_some() { HALF } else { storage.parameter }
    }
}

/// Channels of all query heads, and of all key (or value) heads.
pub(super) fn channels(model: &LlamaConfig) -> (usize, usize) {
    (model.num_attention_heads * model.head_dim, model.num_key_value_heads * model.head_dim)
}
