//! Reads `config.json`. Early checkpoints lack keys, and later ones renamed them. An unknown key
//! with a value is refused, since it may change what the model computes.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Family, LlamaConfig, RopeScaling};
use crate::keys::{Keys, agreed};

/// Keys that do not change what the model computes. They say how it was made and saved and how
/// transformers runs it, or are settings of old versions for generation and other tasks.
const KEYS_THAT_DO_NOT_MATTER: [&str; 53] = [
    "attn_implementation",
    "bad_words_ids",
    "begin_suppress_tokens",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "label2id",
    "length_penalty",
    "max_length",
    "max_sequence_length",
    "max_new_tokens",
    "min_length",
    "model_max_length",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_version",
    "use_cache",
];
/// Keys of a rescaling that may be present although its type does not read them.
const ROPE_KEYS_THAT_DO_NOT_MATTER: [&str; 1] = ["original_max_position_embeddings"];

impl TryFrom<Map<String, Value>> for LlamaConfig {
    type Error = String;

    fn try_from(file: Map<String, Value>) -> Result<Self, String> {
        let mut keys = Keys::new("", file);
        if let Some(quantised) = keys.table("quantization_config")? {
            return Err(quantised_weights(quantised));
        }
        let family = Family::take(&mut keys)?;
        check_architecture(&mut keys, family)?;
        let hidden_size = keys.need("hidden_size")?;
        let num_attention_heads: usize = keys.need("num_attention_heads")?;
        let num_key_value_heads =
            late(&mut keys, family, "num_key_value_heads", num_attention_heads)?;
        let max_position_embeddings = late(&mut keys, family, "max_position_embeddings", 2048)?;
        let (rope_theta, rope_scaling) = rope(&mut keys, max_position_embeddings)?;
        let hidden_act: String = keys.take("hidden_act")?.unwrap_or_else(|| "silu".to_owned());
        let config = Self {
            architectures: vec![family.architecture().to_owned()],
            family,
            // Swish and SiLU are the same function.
            hidden_act: if hidden_act == "swish" { "silu".to_owned() } else { hidden_act },
            hidden_size,
            intermediate_size: keys.need("intermediate_size")?,
            num_hidden_layers: keys.need("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads,
            head_dim: head_dim(&mut keys, family, hidden_size / num_attention_heads.max(1))?,
            vocab_size: keys.need("vocab_size")?,
            max_position_embeddings,
            rms_norm_eps: keys.take("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            tie_word_embeddings: keys.take("tie_word_embeddings")?.unwrap_or(false),
            span_head: keys.take("span_head")?.unwrap_or(false),
            initializer_range: keys.take("initializer_range")?.unwrap_or(0.02),
            bos_token_id: tokens(&mut keys, "bos_token_id")?.first().copied(),
            eos_token_id: tokens(&mut keys, "eos_token_id")?,
            pad_token_id: tokens(&mut keys, "pad_token_id")?.first().copied(),
            torch_dtype: dtype(&mut keys)?,
        };
        keys.finish(&KEYS_THAT_DO_NOT_MATTER)?;
        Ok(config)
    }
}

/// Returns the error message for quantised weights.
fn quantised_weights(mut keys: Keys) -> String {
    let method = keys
        .take::<String>("quant_method")
        .ok()
        .flatten()
        .unwrap_or_else(|| "an unnamed method".to_owned());
    format!(
        "the weights are quantised by {method} (`quantization_config`), which is not supported: use \
         the original model with f32, f16 or bf16 weights; `model.base` quantises it under an adapter"
    )
}

/// Refuses architectures with other heads or layers, or of another family.
fn check_architecture(keys: &mut Keys, family: Family) -> Result<(), String> {
    let with_head = family.architecture();
    let without = with_head.replace("ForCausalLM", "Model");
    let named: Vec<String> = keys.take("architectures")?.unwrap_or_default();
    // The first checkpoints write `LLaMA`.
    let is_known = |name: &&String| {
        let name = name.replacen("LLaMA", "Llama", 1);
        name == with_head || name == without
    };
    match named.iter().find(|name| !is_known(name)) {
        Some(other) => Err(format!(
            "`architectures` names `{other}`; with this `model_type` only `{with_head}` is \
             supported"
        )),
        None => Ok(()),
    }
}

/// Takes a key that the first LLaMA checkpoints lack; they have the value `first`. Files of other
/// families always have it, and their defaults in transformers are those of one size of model.
fn late<T: DeserializeOwned>(
    keys: &mut Keys,
    family: Family,
    key: &str,
    first: T,
) -> Result<T, String> {
    if family.has_defaults() { Ok(keys.take(key)?.unwrap_or(first)) } else { keys.need(key) }
}

/// Takes the channels of a head. In Qwen 3 they do not follow from the hidden size.
fn head_dim(keys: &mut Keys, family: Family, even: usize) -> Result<usize, String> {
    match family {
        Family::Qwen3 { .. } => keys.need("head_dim"),
        _ => Ok(keys.take("head_dim")?.unwrap_or(even)),
    }
}

/// Takes one token id or a list of them. A negative id means that there is none.
fn tokens(keys: &mut Keys, key: &str) -> Result<Vec<u32>, String> {
    let ids = match keys.take::<Value>(key)? {
        None => Vec::new(),
        Some(Value::Array(ids)) => ids,
        Some(id) => vec![id],
    };
    let there = |id: &Value| id.as_i64().is_none_or(|id| id >= 0);
    let number = |id: Value| {
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
        number.ok_or_else(|| format!("`{key}` is {id}, which is not a token id"))
    };
    ids.into_iter().filter(there).map(number).collect()
}

/// Returns the ids of the tokens that end a sequence, from `generation_config.json`, which may name
/// more than `config.json`.
pub(crate) fn ends_of_generation(file: Map<String, Value>) -> Result<Vec<u32>, String> {
    tokens(&mut Keys::new("", file), "eos_token_id")
}

/// Takes the element type: `torch_dtype`, which transformers 5 calls `dtype`.
fn dtype(keys: &mut Keys) -> Result<String, String> {
    let plain =
        |name: Option<String>| name.map(|name| name.trim_start_matches("torch.").to_owned());
    let (first, second) = (plain(keys.take("torch_dtype")?), plain(keys.take("dtype")?));
    let dtype = agreed(&["torch_dtype", "dtype"], first, second)?;
    Ok(dtype.unwrap_or_else(|| "float32".to_owned()))
}

/// Takes the base of the rotary frequencies and their rescaling: `rope_theta` and `rope_scaling`,
/// or both from `rope_parameters`.
fn rope(keys: &mut Keys, positions: usize) -> Result<(f64, Option<RopeScaling>), String> {
    let mut theta = keys.take::<f64>("rope_theta")?;
    let fraction = keys.take::<f64>("partial_rotary_factor")?;
    check_rotary_fraction("partial_rotary_factor", fraction)?;
    let original = keys.take::<usize>("original_max_position_embeddings")?;
    let mut rescalings = [None, None];
    for (name, found) in ["rope_scaling", "rope_parameters"].into_iter().zip(&mut rescalings) {
        let Some(mut table) = keys.table(name)? else { continue };
        let own = table.take("rope_theta")?;
        theta = agreed(&["rope_theta", &format!("{name}.rope_theta")], theta, own)?;
        *found = Some(rescaling(table, name, original, positions)?);
    }
    let [first, second] = rescalings;
    let scaling = agreed(&["rope_scaling", "rope_parameters"], first, second)?.flatten();
    let theta = theta.unwrap_or(10_000.0);
    if matches!(scaling, Some(RopeScaling::Yarn { .. })) && theta <= 1.0 {
        return Err(format!("`rope_theta` is {theta}; yarn needs a number above 1"));
    }
    Ok((theta, scaling))
}

/// Reads the rescaling in a table; `None` for the type `default`. `original` is the context length
/// from outside the table, which takes precedence.
fn rescaling(
    mut table: Keys,
    name: &str,
    original: Option<usize>,
    positions: usize,
) -> Result<Option<RopeScaling>, String> {
    check_rotary_fraction(
        &format!("{name}.partial_rotary_factor"),
        table.take("partial_rotary_factor")?,
    )?;
    let kind: Option<String> = table.take_either(["rope_type", "type"])?;
    let length = |table: &mut Keys| -> Result<usize, String> {
        let own = table.take("original_max_position_embeddings")?;
        Ok(original.or(own).unwrap_or(positions))
    };
    let scaling = match kind.as_deref() {
        None | Some("default") => None,
        Some("linear") => Some(RopeScaling::Linear { factor: table.need("factor")? }),
        Some("llama3") => Some(RopeScaling::Llama3 {
            factor: table.need("factor")?,
            low_freq_factor: table.need("low_freq_factor")?,
            high_freq_factor: table.need("high_freq_factor")?,
            original_max_position_embeddings: length(&mut table)?,
        }),
        Some("yarn") => {
            let original_max_position_embeddings = length(&mut table)?;
            let stretched = positions as f64 / original_max_position_embeddings as f64;
            let factor = table.take("factor")?.unwrap_or(stretched);
            Some(RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                attention_factor: yarn_attention_factor(&mut table, factor)?,
                beta_fast: table.take("beta_fast")?.filter(|turns| *turns != 0.0).unwrap_or(32.0),
                beta_slow: table.take("beta_slow")?.filter(|turns| *turns != 0.0).unwrap_or(1.0),
                truncate: table.take("truncate")?.unwrap_or(true),
            })
        }
        Some(other) => {
            return Err(format!(
                "`{name}` has the type `{other}`; only `linear`, `llama3` and `yarn` are supported"
            ));
        }
    };
    table.finish(&ROPE_KEYS_THAT_DO_NOT_MATTER)?;
    scaling.map_or(Ok(()), |scaling| check_scaling(name, scaling))?;
    Ok(scaling)
}

/// Checks the numbers by which frequencies are divided (for one, the difference of two).
fn check_scaling(name: &str, scaling: RopeScaling) -> Result<(), String> {
    let numbers = match scaling {
        RopeScaling::Linear { factor } => vec![("factor", factor)],
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => vec![
            ("factor", factor),
            ("low_freq_factor", low_freq_factor),
            ("high_freq_factor", high_freq_factor - low_freq_factor),
        ],
        RopeScaling::Yarn { factor, beta_fast, beta_slow, attention_factor, .. } => vec![
            ("factor", factor),
            ("beta_fast", beta_fast),
            ("beta_slow", beta_slow),
            ("attention_factor", attention_factor),
        ],
    };
    match numbers.into_iter().find(|(_, number)| !(*number > 0.0 && number.is_finite())) {
        Some(("high_freq_factor", _)) => {
            Err(format!("`{name}.high_freq_factor` is not above `low_freq_factor`"))
        }
        Some((key, number)) => {
            Err(format!("`{name}.{key}` is {number}; it must be a positive number"))
        }
        None => Ok(()),
    }
}

/// Returns the attention factor of the file, or else computes it (equation 22 of the paper).
fn yarn_attention_factor(table: &mut Keys, factor: f64) -> Result<f64, String> {
    let stated: Option<f64> = table.take("attention_factor")?;
    let scales = [table.take::<f64>("mscale")?, table.take::<f64>("mscale_all_dim")?];
    let scaled = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
    Ok(stated.unwrap_or_else(|| match scales {
        [Some(scale), Some(all)] if scale != 0.0 && all != 0.0 => scaled(scale) / scaled(all),
        _ => scaled(1.0),
    }))
}

/// Refuses partial rotation: only whole heads are rotated.
fn check_rotary_fraction(name: &str, fraction: Option<f64>) -> Result<(), String> {
    match fraction {
        Some(fraction) if fraction != 1.0 => {
            Err(format!("`{name}` is {fraction}; only 1 (whole heads) is supported"))
        }
        _ => Ok(()),
    }
}
