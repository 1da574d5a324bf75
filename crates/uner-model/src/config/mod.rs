//! The model's dimensions, with the names and defaults of Hugging Face's `config.json`.

mod adapter;
pub(crate) mod family;
pub(crate) mod file;
mod rope;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

pub(crate) use adapter::LARGEST_ALPHA;
pub use adapter::{Adapter, AdapterConfig, Base, BaseFormat, Target};
pub use family::Family;
pub use rope::RopeScaling;

/// Contents of `config.json`. Both layouts are read: `rope_theta` + `rope_scaling` + `torch_dtype`
/// of published checkpoints, and `rope_parameters` + `dtype` of transformers 5. The former is
/// written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct LlamaConfig {
    /// The class of transformers, such as `LlamaForCausalLM`; it follows from the family.
    pub architectures: Vec<String>,
    /// `model_type`, and the keys that only this family has.
    #[serde(flatten)]
    pub family: Family,
    /// Always `silu`.
    pub hidden_act: String,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; fewer than query heads in grouped-query attention.
    pub num_key_value_heads: usize,
    /// Channels of a head; not always `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Longest sequence the checkpoint was trained for.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Rescaling of the rotary frequencies.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the head shares the embedding's matrix.
    pub tie_word_embeddings: bool,
    /// Whether the model reads entities with a [span head](crate::span_head). Only uner knows this
    /// key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub span_head: bool,
    /// Standard deviation of random weights.
    pub initializer_range: f64,
    /// The token that begins a sequence.
    pub bos_token_id: Option<u32>,
    /// The tokens that end a sequence.
    #[serde(serialize_with = "one_or_list")]
    pub eos_token_id: Vec<u32>,
    /// The padding token.
    pub pad_token_id: Option<u32>,
    /// Element type of the weights in the same folder.
    pub torch_dtype: String,
}

/// Writes one id as a number and several as a list, as Hugging Face does.
fn one_or_list<S: Serializer>(ids: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    match ids {
        [] => serializer.serialize_none(),
        [id] => serializer.serialize_u32(*id),
        ids => ids.serialize(serializer),
    }
}

impl LlamaConfig {
    /// Computes the angular frequency of each of the `head_dim / 2` channel pairs, rescaled if the
    /// checkpoint says so.
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        let frequency =
            |pair| 1.0 / (self.rope_theta as f32).powf(2.0 * pair as f32 / self.head_dim as f32);
        let frequencies = (0..self.head_dim / 2).map(frequency).collect();
        match self.rope_scaling {
            Some(scaling) => scaling.rescaled(frequencies, self.rope_theta),
            None => frequencies,
        }
    }

    /// The factor of the rotations' cosines and sines.
    pub fn rope_attention_factor(&self) -> f32 {
        self.rope_scaling.map_or(1.0, |scaling| scaling.attention_factor() as f32)
    }

    /// The dimensions with a [span head](crate::span_head) in place of a language-model head.
    #[must_use]
    pub fn with_span_head(self) -> Self {
        Self { span_head: true, tie_word_embeddings: true, ..self }
    }

    /// Checks that the dimensions are usable.
    ///
    /// # Errors
    /// A sentence that names the field at fault and its value.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("`{name}` is 0; it must be at least 1"));
        }
        let sizes = positive.into_iter().chain([("head_dim", self.head_dim)]);
        if let Some((name, value)) = sizes.into_iter().find(|(name, value)| *value > largest(name))
        {
            return Err(format!("`{name}` is {value}; it must be at most {}", largest(name)));
        }
        if !(self.rope_theta > 0.0 && self.rope_theta.is_finite()) {
            return Err(format!("`rope_theta` is {}; it must be positive", self.rope_theta));
        }
        if !(self.rms_norm_eps >= 0.0 && (self.rms_norm_eps as f32).is_finite()) {
            return Err(format!(
                "`rms_norm_eps` is {:e}; it must not be negative and must fit an f32",
                self.rms_norm_eps
            ));
        }
        let ends = self.eos_token_id.iter().map(|id| ("eos_token_id", *id));
        let mut special = ends.chain(self.bos_token_id.map(|id| ("bos_token_id", id)));
        if let Some((name, id)) = special.find(|(_, id)| *id as usize >= self.vocab_size) {
            return Err(format!(
                "`{name}` {id} is outside the embedding, which has {} rows (`vocab_size`)",
                self.vocab_size
            ));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(format!(
                "`num_attention_heads` {} is not a multiple of `num_key_value_heads` {}",
                self.num_attention_heads, self.num_key_value_heads
            ));
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(format!("`head_dim` {} is not a positive even number", self.head_dim));
        }
        if self.hidden_act != "silu" {
            return Err(format!("`hidden_act` is `{}`; only `silu` is supported", self.hidden_act));
        }
        if matches!(self.family, Family::Mistral { sliding_window: Some(0) }) {
            return Err("`sliding_window` is 0; it must be at least 1, or null".to_owned());
        }
        Ok(())
    }
}

/// The largest value of a dimension. It is far above that of any model, so products of dimensions
/// cannot overflow and a damaged file cannot describe an endless model.
fn largest(name: &str) -> usize {
    match name {
        "num_hidden_layers" => 10_000,
        "num_attention_heads" | "num_key_value_heads" | "head_dim" => 1 << 16,
        _ => 1 << 24,
    }
}
