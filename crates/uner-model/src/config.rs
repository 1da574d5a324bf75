//! The model's dimensions, with the names and defaults of Hugging Face's `config.json`.

use serde::{Deserialize, Serialize};

/// What `config.json` says. Reads both layouts: `rope_theta` + `rope_scaling` + `torch_dtype` of published
/// checkpoints, and `rope_parameters` + `dtype` of transformers 5. Writes the former.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct LlamaConfig {
    /// Always `LlamaForCausalLM`.
    pub architectures: Vec<String>,
    /// Always `llama`.
    pub model_type: String,
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
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of random weights.
    pub initializer_range: f64,
    /// Beginning of sequence.
    pub bos_token_id: Option<u32>,
    /// End of sequence (the first, where a file lists several).
    pub eos_token_id: Option<u32>,
    /// Padding.
    pub pad_token_id: Option<u32>,
    /// Element type of the weights beside this file.
    pub torch_dtype: String,
}

/// The frequency rescaling of LLaMA 3.1 (`rope_type = "llama3"`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    /// How much longer the context became.
    pub factor: f64,
    /// Wavelengths above `original / low_freq_factor` are divided by `factor`.
    pub low_freq_factor: f64,
    /// Wavelengths below `original / high_freq_factor` stay.
    pub high_freq_factor: f64,
    /// Context length before the rescaling.
    pub original_max_position_embeddings: usize,
    /// Always `llama3`.
    #[serde(default)]
    pub rope_type: RopeType,
}

/// The one rescaling that is served; another is refused while reading `config.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RopeType {
    /// LLaMA 3.1's.
    #[default]
    #[serde(rename = "llama3")]
    Llama3,
}

impl LlamaConfig {
    /// The angular frequency of each of the `head_dim / 2` channel pairs, rescaled where the checkpoint says so.
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        let half = self.head_dim / 2;
        (0..half)
            .map(|pair| {
                let frequency = 1.0 / (self.rope_theta as f32).powf(2.0 * pair as f32 / self.head_dim as f32);
                self.rope_scaling.map_or(frequency, |scaling| scaling.apply(frequency))
            })
            .collect()
    }

    /// What makes these dimensions unusable, if anything.
    ///
    /// # Errors
    /// A sentence that names the field and its value.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("vocab_size", self.vocab_size),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("`{name}` is 0"));
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
            return Err(format!("`hidden_act` `{}` is not served; LLaMA has `silu`", self.hidden_act));
        }
        if self.model_type != "llama" {
            return Err(format!("`model_type` `{}` is not served, only `llama`", self.model_type));
        }
        Ok(())
    }
}

impl RopeScaling {
    /// As `_compute_llama3_parameters` of transformers: long wavelengths are stretched by `factor`, short ones stay,
    /// those between are interpolated.
    fn apply(self, frequency: f32) -> f32 {
        let original = self.original_max_position_embeddings as f64;
        let (low, high) = (self.low_freq_factor, self.high_freq_factor);
        let wavelength = 2.0 * std::f64::consts::PI / f64::from(frequency);
        let stretched = f64::from(frequency) / self.factor;
        if wavelength > original / low {
            stretched as f32
        } else if wavelength < original / high {
            frequency
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            ((1.0 - smooth) * stretched + smooth * f64::from(frequency)) as f32
        }
    }
}

/// `config.json` as files have it, where early checkpoints lack keys and later ones renamed them.
#[derive(Deserialize)]
struct Written {
    #[serde(default = "default_model_type")]
    model_type: String,
    #[serde(default = "default_hidden_act")]
    hidden_act: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    #[serde(default = "default_max_positions")]
    max_position_embeddings: usize,
    #[serde(default = "default_eps")]
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeScaling>,
    rope_parameters: Option<RopeParameters>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default = "default_initializer_range")]
    initializer_range: f64,
    bos_token_id: Option<u32>,
    eos_token_id: Option<OneOrMany>,
    pad_token_id: Option<u32>,
    #[serde(alias = "dtype", default = "default_dtype")]
    torch_dtype: Option<String>,
}

/// `rope_parameters` of transformers 5: base and rescaling in one table.
#[derive(Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(default = "default_rope_type")]
    rope_type: String,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl RopeParameters {
    fn scaling(&self) -> Option<RopeScaling> {
        (self.rope_type == "llama3").then_some(RopeScaling {
            factor: self.factor?,
            low_freq_factor: self.low_freq_factor?,
            high_freq_factor: self.high_freq_factor?,
            original_max_position_embeddings: self.original_max_position_embeddings?,
            rope_type: RopeType::Llama3,
        })
    }
}

impl From<Written> for LlamaConfig {
    fn from(file: Written) -> Self {
        let parameters = file.rope_parameters;
        Self {
            architectures: vec!["LlamaForCausalLM".to_owned()],
            model_type: file.model_type,
            hidden_act: file.hidden_act,
            hidden_size: file.hidden_size,
            intermediate_size: file.intermediate_size,
            num_hidden_layers: file.num_hidden_layers,
            num_attention_heads: file.num_attention_heads,
            num_key_value_heads: file.num_key_value_heads.unwrap_or(file.num_attention_heads),
            head_dim: file.head_dim.unwrap_or(file.hidden_size / file.num_attention_heads.max(1)),
            vocab_size: file.vocab_size,
            max_position_embeddings: file.max_position_embeddings,
            rms_norm_eps: file.rms_norm_eps,
            rope_theta: file
                .rope_theta
                .or_else(|| parameters.as_ref().and_then(|p| p.rope_theta))
                .unwrap_or(10_000.0),
            rope_scaling: file.rope_scaling.or_else(|| parameters.and_then(|p| p.scaling())),
            tie_word_embeddings: file.tie_word_embeddings,
            initializer_range: file.initializer_range,
            bos_token_id: file.bos_token_id,
            eos_token_id: file.eos_token_id.and_then(|ids| match ids {
                OneOrMany::One(id) => Some(id),
                OneOrMany::Many(ids) => ids.first().copied(),
            }),
            pad_token_id: file.pad_token_id,
            torch_dtype: file.torch_dtype.unwrap_or_else(|| "float32".to_owned()),
        }
    }
}

fn default_model_type() -> String {
    "llama".to_owned()
}
fn default_hidden_act() -> String {
    "silu".to_owned()
}
fn default_max_positions() -> usize {
    2048
}
fn default_eps() -> f64 {
    1e-6
}
fn default_initializer_range() -> f64 {
    0.02
}
fn default_rope_type() -> String {
    "default".to_owned()
}
#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
fn default_dtype() -> Option<String> {
    Some("float32".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"{"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 512}"#;

    #[test]
    fn keys_that_the_first_checkpoints_lack_get_their_defaults() {
        let config: LlamaConfig = serde_json::from_str(MINIMAL).unwrap();
        assert_eq!((config.num_key_value_heads, config.head_dim), (4, 16));
        assert_eq!((config.rope_theta, config.rms_norm_eps), (10_000.0, 1e-6));
        assert_eq!(config.inverse_frequencies()[1], 1.0 / 10_000f32.powf(2.0 / 16.0));
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut config: LlamaConfig = serde_json::from_str(MINIMAL).unwrap();
        config.rope_scaling = Some(RopeScaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
            rope_type: RopeType::Llama3,
        });
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<LlamaConfig>(&written).unwrap(), config);
    }

    #[test]
    fn dimensions_that_cannot_work_are_named() {
        let mut config: LlamaConfig = serde_json::from_str(MINIMAL).unwrap();
        config.num_key_value_heads = 3;
        assert!(config.check().unwrap_err().contains("`num_key_value_heads` 3"));
    }
}
