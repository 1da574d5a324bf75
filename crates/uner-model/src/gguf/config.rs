//! The dimensions of a GGUF file.

use gguf_rs_lib::format::Metadata;
use serde_json::{Map, Value, json};

use super::Vocabulary;
use crate::LlamaConfig;

/// Keys of `{architecture}.*` that describe what is not computed, unless they are 0.
const REFUSED: [&str; 4] =
    ["expert_count", "attention.sliding_window", "attention.clamp_kqv", "logit_scale"];

/// What the tensors of a file say about the dimensions.
pub(super) struct Tensors<'a> {
    /// Rows of the embedding.
    pub(super) vocab_size: usize,
    /// Whether a tensor exists.
    pub(super) contains: &'a dyn Fn(&str) -> bool,
    /// Factors by which LLaMA 3's rotary frequencies are divided.
    pub(super) rope_factors: Option<Vec<f32>>,
}

/// Reads the dimensions as a `config.json`.
///
/// # Errors
/// Names the key at fault.
pub(super) fn read(
    metadata: &Metadata,
    tensors: &Tensors,
    vocabulary: &Vocabulary,
) -> Result<LlamaConfig, String> {
    let architecture =
        metadata.get_string("general.architecture").ok_or("`general.architecture` is missing")?;
    let model_type = match architecture {
        "llama" | "qwen2" | "qwen3" => architecture,
        other => {
            return Err(format!(
                "`general.architecture` is `{other}`; only `llama` (also Mistral), `qwen2` and \
                 `qwen3` are supported"
            ));
        }
    };
    let key = |key: &str| format!("{architecture}.{key}");
    let number = |name: &str| metadata.get_u64(&key(name));
    let needed = |name: &str| number(name).ok_or_else(|| format!("`{}` is missing", key(name)));
    if let Some(name) = REFUSED.into_iter().find(|name| {
        metadata
            .get_f64(&key(name))
            .or(number(name).map(|n| n as f64))
            .is_some_and(|value| value != 0.0)
    }) {
        return Err(format!("the file has `{}`, which is not supported", key(name)));
    }
    let heads = needed("attention.head_count")?;
    let hidden = needed("embedding_length")?;
    let head_dim = number("attention.key_length").or(number("rope.dimension_count"));
    let head_dim = head_dim.unwrap_or(hidden / heads.max(1));
    let has = tensors.contains;
    let theta = metadata.get_f64(&key("rope.freq_base")).unwrap_or(10_000.0);
    let mut file = json!({
        "model_type": model_type,
        "hidden_size": hidden,
        "intermediate_size": needed("feed_forward_length")?,
        "num_hidden_layers": needed("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": number("attention.head_count_kv").unwrap_or(heads),
        "head_dim": head_dim,
        "vocab_size": tensors.vocab_size,
        "max_position_embeddings": needed("context_length")?,
        "rms_norm_eps": shortest(needed_float(metadata, &key("attention.layer_norm_rms_epsilon"))?),
        "rope_theta": shortest(theta),
        "tie_word_embeddings": !has("output.weight"),
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "pad_token_id": vocabulary.padding,
    });
    if model_type == "llama" {
        file["attention_bias"] = json!(has("blk.0.attn_q.bias"));
        file["mlp_bias"] = json!(has("blk.0.ffn_up.bias"));
    }
    let rope = Rope { metadata, architecture, theta, head_dim: head_dim as usize };
    if let Some(scaling) = rope.scaling(tensors.rope_factors.as_deref())? {
        file["rope_scaling"] = scaling;
    }
    let Value::Object(file) = file else { unreachable!("made above") };
    let config = LlamaConfig::try_from(without_null(file))?;
    config.check()?;
    Ok(config)
}

fn needed_float(metadata: &Metadata, key: &str) -> Result<f64, String> {
    metadata.get_f64(key).ok_or_else(|| format!("`{key}` is missing"))
}

/// The shortest decimal number that is this f32: 1e-5 is stored as 9.999999747378752e-6.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

fn without_null(mut file: Map<String, Value>) -> Map<String, Value> {
    file.retain(|_, value| !value.is_null());
    file
}

/// What a file says about its rotary frequencies.
struct Rope<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
    theta: f64,
    head_dim: usize,
}

impl Rope<'_> {
    /// The `rope_scaling` of a `config.json`.
    fn scaling(&self, factors: Option<&[f32]>) -> Result<Option<Value>, String> {
        let key = |key: &str| format!("{}.rope.scaling.{key}", self.architecture);
        let kind = self.metadata.get_string(&key("type")).unwrap_or("none");
        let factor = self.metadata.get_f64(&key("factor")).unwrap_or(1.0);
        let original = self.metadata.get_u64(&key("original_context_length"));
        match (kind, factors) {
            ("none", None) => Ok(None),
            ("none", Some(factors)) => self.llama3(factors).map(Some),
            ("linear", None) => Ok(Some(json!({"rope_type": "linear", "factor": factor}))),
            ("yarn", None) => Ok(Some(json!({
                "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original,
            }))),
            _ => Err(format!(
                "`{}` is `{kind}`{}; not supported",
                key("type"),
                if factors.is_some() { ", with a tensor `rope_freqs.weight`" } else { "" }
            )),
        }
    }

    /// Finds the rescaling of LLaMA 3 that has these factors. The file has only its result; LLaMA
    /// 3.1 to 3.3 differ in their factor alone.
    fn llama3(&self, factors: &[f32]) -> Result<Value, String> {
        let factor = factors.iter().copied().fold(1.0, f32::max);
        let scaling = json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        });
        let frequencies = |scaling: Option<&Value>| {
            let mut file = json!({
                "model_type": "llama", "hidden_size": self.head_dim, "intermediate_size": 1,
                "num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": self.head_dim,
                "vocab_size": 1, "rope_theta": self.theta,
            });
            file["rope_scaling"] = json!(scaling);
            let Value::Object(file) = file else { unreachable!("made above") };
            LlamaConfig::try_from(without_null(file)).map(|config| config.inverse_frequencies())
        };
        let (plain, rescaled) = (frequencies(None)?, frequencies(Some(&scaling))?);
        let close = |((plain, rescaled), factor): ((&f32, &f32), &f32)| {
            (plain / rescaled - factor).abs() <= 1e-3 * factor
        };
        if plain.len() == factors.len() && plain.iter().zip(&rescaled).zip(factors).all(close) {
            return Ok(scaling);
        }
        Err("the tensor `rope_freqs.weight` does not have the factors of LLaMA 3.1 to 3.3; other \
             rescalings are not supported"
            .to_owned())
    }
}
