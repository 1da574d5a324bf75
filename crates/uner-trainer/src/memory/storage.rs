//! What the memory plan needs to know of how a run stores its numbers and shares them out.

use uner_kernels::adamw::code::{BLOCK, BLOCK_WORDS};
use uner_model::adapter::Target;
use uner_model::{AdapterConfig, LlamaConfig};

use crate::precision::{MomentForm, PrecisionConfig, Rounding};

/// Values of a packed weight that share one scale.
const WEIGHT_BLOCK: f64 = 64.0;
/// Bytes of an f32.
const FLOAT: f64 = 4.0;
/// Bytes of a bf16.
const HALF: f64 = 2.0;

/// Bytes of each kind of number: what a precision policy decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storage {
    /// A trained parameter as the model computes with it.
    pub parameter: f64,
    /// Its gradient.
    pub gradient: f64,
    /// What the parameter lacks of the f32 value that updates are applied to; 0 where it is all there is.
    pub master: f64,
    /// Both moments together.
    pub moments: f64,
    /// An activation, or the gradient of one.
    pub activation: f64,
    /// What a checkpoint is written from while training goes on, where that copy is in the same memory.
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

    /// bf16 parameters and activations, f32 gradients and moments, and 16 bits for each parameter, with which it is an f32: a GPU.
    pub const MIXED: Self = Self {
        parameter: HALF,
        gradient: FLOAT,
        master: HALF,
        moments: 2.0 * FLOAT,
        activation: HALF,
        snapshot: 0.0,
    };

    /// With what a recipe stores in fewer bits.
    #[must_use]
    pub fn with(self, config: PrecisionConfig) -> Self {
        let moments = match config.moments {
            MomentForm::Float => self.moments,
            MomentForm::EightBit => FLOAT * BLOCK_WORDS as f64 / BLOCK as f64,
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

/// A low-rank adapter on a frozen base.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adapter {
    /// Rank of its factors.
    pub rank: usize,
    /// Which layers have one, in the order of [`Matrix::ALL`].
    pub targets: [bool; 7],
    /// How the base is stored.
    pub base: Base,
}

impl Adapter {
    /// One as a recipe describes it, on a base that is stored like this.
    pub fn new(config: &AdapterConfig, base: Base) -> Self {
        // Both lists are in the order of a block.
        let targets = Target::ALL.map(|target| config.target_modules.contains(&target));
        Self { rank: config.rank, targets, base }
    }

    /// One on every layer of a block.
    pub fn everywhere(rank: usize, base: Base) -> Self {
        Self { rank, targets: [true; 7], base }
    }
}

/// How frozen weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// f32.
    F32,
    /// bf16.
    Bf16,
    /// A byte for each value of a block's matrices and a scale for each block of values; the rest in bf16.
    EightBit,
    /// Half a byte, likewise.
    FourBit,
}

impl Base {
    /// Bytes of a value of a block's matrices.
    pub(super) fn matrix_value(self) -> f64 {
        match self {
            Self::F32 => FLOAT,
            Self::Bf16 => HALF,
            Self::EightBit => scaled(1.0),
            Self::FourBit => scaled(0.5),
        }
    }

    /// Bytes of a value of the embedding, the head and the norms.
    pub(super) fn other_value(self) -> f64 {
        if self == Self::F32 { FLOAT } else { HALF }
    }

    /// Whether a matrix has to be unpacked before it can be multiplied with.
    pub(super) fn is_packed(self) -> bool {
        matches!(self, Self::EightBit | Self::FourBit)
    }
}

/// The matrices of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    /// `q_proj`
    Q,
    /// `k_proj`
    K,
    /// `v_proj`
    V,
    /// `o_proj`
    O,
    /// `gate_proj`
    Gate,
    /// `up_proj`
    Up,
    /// `down_proj`
    Down,
}

impl Matrix {
    /// All, in the order in which they are used.
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// `[in, out]`.
    pub fn dims(self, model: &LlamaConfig) -> [usize; 2] {
        let (h, i) = (model.hidden_size, model.intermediate_size);
        let (q, k) = channels(model);
        match self {
            Self::Q => [h, q],
            Self::K | Self::V => [h, k],
            Self::O => [q, h],
            Self::Gate | Self::Up => [h, i],
            Self::Down => [i, h],
        }
    }
}

/// Channels of all query heads, and of all key (or value) heads.
pub(super) fn channels(model: &LlamaConfig) -> (usize, usize) {
    (model.num_attention_heads * model.head_dim, model.num_key_value_heads * model.head_dim)
}
