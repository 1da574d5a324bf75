//! The settings of an adapter, and the model that it belongs to.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uner_kernels::quantized_linear::QuantFormat;

use super::LlamaConfig;

/// Upper limit of `alpha`, far above that of any adapter.
pub(crate) const LARGEST_ALPHA: f64 = 1e6;

/// `[model.adapter]` of a recipe: the adapter that is trained instead of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterConfig {
    /// Rank of the two factors.
    pub rank: usize,
    /// The adapter's term is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Share of the adapter's inputs that are set to 0 in training.
    pub dropout: f64,
    /// The layers of every block that get an adapter.
    pub target_modules: BTreeSet<Target>,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            dropout: 0.05,
            target_modules: Target::ALL.into_iter().collect(),
        }
    }
}

/// A layer that can have an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Queries.
    QProj,
    /// Keys.
    KProj,
    /// Values.
    VProj,
    /// The output of attention.
    OProj,
    /// The gate of the feed-forward layer.
    GateProj,
    /// The values that the gate multiplies.
    UpProj,
    /// The output of the feed-forward layer.
    DownProj,
}

impl Target {
    /// All layers, in the order of a block.
    pub const ALL: [Self; 7] = [
        Self::QProj,
        Self::KProj,
        Self::VProj,
        Self::OProj,
        Self::GateProj,
        Self::UpProj,
        Self::DownProj,
    ];

    /// The layer's name without its module's.
    pub fn name(self) -> &'static str {
        match self {
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OProj => "o_proj",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
        }
    }

    /// The widths of the layer's input and output: `[in, out]`.
    pub fn dims(self, model: &LlamaConfig) -> [usize; 2] {
        let (hidden, inner) = (model.hidden_size, model.intermediate_size);
        let queries = model.num_attention_heads * model.head_dim;
        let keys = model.num_key_value_heads * model.head_dim;
        match self {
            Self::QProj => [hidden, queries],
            Self::KProj | Self::VProj => [hidden, keys],
            Self::OProj => [queries, hidden],
            Self::GateProj | Self::UpProj => [hidden, inner],
            Self::DownProj => [inner, hidden],
        }
    }
}

impl AdapterConfig {
    /// Checks that the settings are usable.
    ///
    /// # Errors
    /// A sentence that names the key at fault and its value.
    pub fn check(&self) -> Result<(), String> {
        let Self { rank, alpha, dropout, target_modules } = self;
        if *rank == 0 {
            return Err("`model.adapter.rank` is 0; it must be at least 1".to_owned());
        }
        if !(*alpha > 0.0 && *alpha <= LARGEST_ALPHA) {
            return Err(format!(
                "`model.adapter.alpha` is {alpha:?}; it must be positive and at most {LARGEST_ALPHA:e}"
            ));
        }
        if !(0.0..1.0).contains(dropout) {
            return Err(format!(
                "`model.adapter.dropout` is {dropout}; it must be at least 0 and below 1"
            ));
        }
        if target_modules.is_empty() {
            return Err(
                "`model.adapter.target_modules` is empty; name at least one layer".to_owned()
            );
        }
        Ok(())
    }

    /// The factor of the adapter's term: `alpha / rank`.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

/// Quantisation of the layers of a frozen model (`model.base` of a recipe).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BaseFormat {
    /// 8-bit integers, one scale per group of 64.
    #[serde(rename = "8bit")]
    EightBit,
    /// 4-bit `NormalFloat`, one scale per group of 64.
    #[serde(rename = "4bit")]
    FourBit,
}

impl From<BaseFormat> for QuantFormat {
    fn from(form: BaseFormat) -> Self {
        match form {
            BaseFormat::EightBit => Self::Int8,
            BaseFormat::FourBit => Self::Nf4,
        }
    }
}

/// Settings and base of a model's adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Its settings.
    pub config: AdapterConfig,
    /// The model it belongs to.
    pub base: Base,
}

/// The model that an adapter belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its folder; absolute if it comes from [`Base::of`].
    pub path: PathBuf,
    /// See [`Base::of`]; `None` for adapters that other programs wrote.
    pub fingerprint: Option<u32>,
    /// The format its layers were quantised to for the adapter's training; `None` if they were not.
    pub form: Option<BaseFormat>,
}
