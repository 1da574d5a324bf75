//! The dimensions of a GGUF file.

use gguf_rs_lib::format::Metadata;
use serde_json::{Map, Value, json};

use super::Vocabulary;
use crate::LlamaConfig;

/// Keys of `{architecture}.*` that describe what is not computed, unless they are 0.
const REFUSED: [&str; 3] = ["expert_count", "attention.clamp_kqv", "logit_scale"];

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
    let key = |key: &str| format!("{architecture}.{key}");
    let number = |name: &str| metadata.get_u64(&key(name));
    let needed = |name: &str| number(name).ok_or_else(|| format!("`{}` is missing", key(name)));
    let window = number("attention.sliding_window").filter(|window| *window > 0);
    let model_type = model_type(architecture, window)?;
    let is_set = |name: &&str| {
        let value = metadata.get_f64(&key(name));
        value.or_else(|| number(name).map(|value| value as f64)).is_some_and(|value| value != 0.0)
    };
    if let Some(name) = REFUSED.into_iter().find(is_set) {
        return Err(format!("the file has `{}`, which is not supported", key(name)));
    }
    let heads = needed("attention.head_count")?;
    let hidden = needed("embedding_length")?;
    let head_dim = number("attention.key_length").or(number("rope.dimension_count"));
    let head_dim = head_dim.unwrap_or(hidden / heads.max(1));
    if let Some(rotated) = number("rope.dimension_count").filter(|rotated| *rotated != head_dim) {
        return Err(format!(
            "`{}` is {rotated} of {head_dim} channels; heads that are rotated in part are not \
             supported",
            key("rope.dimension_count")
        ));
    }
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
    match model_type {
        "llama" => {
            file["attention_bias"] = json!(has("blk.0.attn_q.bias"));
            file["mlp_bias"] = json!(has("blk.0.ffn_up.bias"));
        }
        "mistral" => file["sliding_window"] = json!(window),
        _ => {}
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

/// The family in transformers. llama.cpp writes a Mistral as a `llama`.
fn model_type(architecture: &str, window: Option<u64>) -> Result<&str, String> {
    match (architecture, window) {
        ("llama", Some(_)) => Ok("mistral"),
        ("llama" | "qwen2" | "qwen3", None) => Ok(architecture),
        ("qwen2" | "qwen3", Some(window)) => Err(format!(
            "`{architecture}.attention.sliding_window` is {window}; not supported for this family"
        )),
        (other, _) => Err(format!(
            "`general.architecture` is `{other}`; only `llama` (also Mistral), `qwen2` and `qwen3` \
             are supported"
        )),
    }
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

#[cfg(test)]
mod tests {
    use gguf_rs_lib::format::metadata::MetadataValue;

    use super::*;
    use crate::config::{Family, RopeScaling};
    use crate::gguf::Algorithm;

    fn metadata(architecture: &str, more: &[(&str, MetadataValue)]) -> Metadata {
        let mut metadata = Metadata::new();
        let name = MetadataValue::String(architecture.to_owned());
        metadata.insert("general.architecture".to_owned(), name);
        let numbers = [
            ("embedding_length", 256),
            ("feed_forward_length", 512),
            ("block_count", 2),
            ("context_length", 131_072),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
        ];
        let numbers = numbers.map(|(key, value)| (key, MetadataValue::U32(value)));
        let floats = [
            ("attention.layer_norm_rms_epsilon", MetadataValue::F32(1e-5)),
            ("rope.freq_base", MetadataValue::F32(500_000.0)),
        ];
        for (key, value) in numbers.iter().chain(&floats).chain(more) {
            metadata.insert(format!("{architecture}.{key}"), value.clone());
        }
        metadata
    }

    fn read_with(
        metadata: &Metadata,
        rope_factors: Option<Vec<f32>>,
    ) -> Result<LlamaConfig, String> {
        let vocabulary = Vocabulary {
            tokens: Vec::new(),
            algorithm: Algorithm::Scored { space_prefix: true },
            bos: Some(1),
            eos: Some(2),
            end_of_turn: None,
            unknown: None,
            padding: None,
            add_bos: true,
            chat_template: None,
        };
        let contains = |name: &str| name == "output.weight";
        read(metadata, &Tensors { vocab_size: 300, contains: &contains, rope_factors }, &vocabulary)
    }

    #[test]
    fn numbers_are_those_that_were_meant() {
        let config = read_with(&metadata("llama", &[]), None).unwrap();
        assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-5, 500_000.0));
        assert_eq!((config.head_dim, config.vocab_size), (64, 300));
        assert!(!config.tie_word_embeddings && config.rope_scaling.is_none());
        assert_eq!(config.family, Family::Llama { attention_bias: false, mlp_bias: false });
        let window = [("attention.sliding_window", MetadataValue::U32(4096))];
        let mistral = read_with(&metadata("llama", &window), None).unwrap();
        assert_eq!(mistral.family, Family::Mistral { sliding_window: Some(4096) });
    }

    /// `convert_hf_to_gguf.py` writes the factors by which LLaMA 3.1 divides its frequencies.
    #[test]
    fn the_rescaling_of_llama_3_is_recognised_by_its_factors() {
        let plain = read_with(&metadata("llama", &[]), None).unwrap();
        for factor in [8.0, 32.0] {
            let scaling = RopeScaling::Llama3 {
                factor,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position_embeddings: 8192,
            };
            let rescaled = LlamaConfig { rope_scaling: Some(scaling), ..plain.clone() };
            let factors: Vec<f32> = plain
                .inverse_frequencies()
                .iter()
                .zip(rescaled.inverse_frequencies())
                .map(|(plain, rescaled)| plain / rescaled)
                .collect();
            let found = read_with(&metadata("llama", &[]), Some(factors.clone())).unwrap();
            assert_eq!(found.rope_scaling, Some(scaling));
            let other = factors.iter().map(|factor| factor.sqrt()).collect();
            let error = read_with(&metadata("llama", &[]), Some(other)).unwrap_err();
            assert!(error.contains("rope_freqs.weight"), "{error}");
        }
    }

    #[test]
    fn other_rescalings_are_read_or_refused() {
        let scaling = |kind: &str| {
            let factor = MetadataValue::F32(4.0);
            let kind = MetadataValue::String(kind.to_owned());
            let original = MetadataValue::U32(4096);
            let keys = [
                ("rope.scaling.type", kind),
                ("rope.scaling.factor", factor),
                ("rope.scaling.original_context_length", original),
            ];
            read_with(&metadata("qwen2", &keys), None)
        };
        let linear = scaling("linear").unwrap().rope_scaling;
        assert_eq!(linear, Some(RopeScaling::Linear { factor: 4.0 }));
        let yarn = scaling("yarn").unwrap().rope_scaling;
        assert!(matches!(yarn, Some(RopeScaling::Yarn { factor: 4.0, .. })), "{yarn:?}");
        let error = scaling("longrope").unwrap_err();
        assert!(
            error.contains("`qwen2.rope.scaling.type` is `longrope`; not supported"),
            "{error}"
        );
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (architecture, key, value, part) in [
            ("gemma", "x", 0, "`general.architecture` is `gemma`; only `llama`"),
            ("llama", "expert_count", 8, "the file has `llama.expert_count`"),
            ("qwen2", "attention.sliding_window", 64, "`qwen2.attention.sliding_window` is 64"),
            ("llama", "rope.dimension_count", 32, "`llama.rope.dimension_count` is 32 of 64"),
        ] {
            let value = [
                (key, MetadataValue::U32(value)),
                ("attention.key_length", MetadataValue::U32(64)),
            ];
            let error = read_with(&metadata(architecture, &value), None).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let mut missing = metadata("llama", &[]);
        missing.remove("llama.block_count");
        let error = read_with(&missing, None).unwrap_err();
        assert_eq!(error, "`llama.block_count` is missing");
    }
}
