//! The families of models: LLaMA, and those whose blocks differ from its blocks by biases, by norms
//! of heads or by a window. Attention within a window is not computed.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{LlamaConfig, Target};
use crate::keys::Keys;

/// The window of a Mistral whose `config.json` lacks `sliding_window`, as in transformers.
const MISTRAL_WINDOW: usize = 4096;

/// A family, with the keys of `config.json` that only it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "model_type", rename_all = "lowercase")]
pub enum Family {
    /// LLaMA 1 to 3 (Touvron et al. 2023). A flag is written only if it is set, so that the
    /// fingerprint of a model without biases is that of earlier versions.
    Llama {
        /// Whether the four projections of attention have biases.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        attention_bias: bool,
        /// Whether the three projections of the feed-forward layer have biases.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        mlp_bias: bool,
    },
    /// Mistral 7B (Jiang et al. 2023).
    Mistral {
        /// Number of tokens that a token sees, itself included; `None` for all. It limits the
        /// context: see [`LlamaConfig::context_limit`].
        sliding_window: Option<usize>,
    },
    /// Qwen 2 and 2.5 (Yang et al. 2024): the projections to queries, keys and values have biases.
    Qwen2,
    /// Qwen 3 (Yang et al. 2025), not its mixtures of experts: an RMS norm of each head's queries
    /// and keys before the rotation.
    Qwen3 {
        /// Whether the four projections of attention have biases.
        attention_bias: bool,
    },
}

impl Family {
    /// Takes `model_type` and the keys that depend on it. A file without the key is a LLaMA.
    ///
    /// # Errors
    /// Names an unknown family, and attention within a window.
    pub(super) fn take(keys: &mut Keys) -> Result<Self, String> {
        let name: String = keys.take("model_type")?.unwrap_or_else(|| "llama".to_owned());
        let family = match name.as_str() {
            "llama" => Self::Llama {
                attention_bias: flag(keys, "attention_bias")?,
                mlp_bias: flag(keys, "mlp_bias")?,
            },
            "mistral" => Self::Mistral { sliding_window: keys.take("sliding_window")? },
            "qwen2" => Self::Qwen2,
            "qwen3" => Self::Qwen3 { attention_bias: flag(keys, "attention_bias")? },
            other => {
                return Err(format!(
                    "`model_type` is `{other}`; only `llama`, `mistral`, `qwen2` and `qwen3` are \
                     supported"
                ));
            }
        };
        if matches!(family, Self::Qwen2 | Self::Qwen3 { .. }) {
            refuse_windows(keys)?;
        }
        refuse_layer_types(keys)?;
        Ok(family)
    }

    /// Whether the first checkpoints of the family lack keys that later ones have.
    pub(super) fn has_defaults(self) -> bool {
        matches!(self, Self::Llama { .. })
    }

    /// The class of transformers with a language-model head.
    pub(super) fn architecture(self) -> &'static str {
        match self {
            Self::Llama { .. } => "LlamaForCausalLM",
            Self::Mistral { .. } => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 { .. } => "Qwen3ForCausalLM",
        }
    }
}

fn flag(keys: &mut Keys, key: &str) -> Result<bool, String> {
    Ok(keys.take(key)?.unwrap_or(false))
}

/// Refuses Qwen's windows. Without them, the model does not depend on their size and place.
fn refuse_windows(keys: &mut Keys) -> Result<(), String> {
    if flag(keys, "use_sliding_window")? {
        return Err(
            "`use_sliding_window` is true; attention within a window is not supported".to_owned()
        );
    }
    keys.take::<Value>("sliding_window")?;
    keys.take::<Value>("max_window_layers")?;
    Ok(())
}

/// Refuses layers of several kinds, which transformers 5 lists.
fn refuse_layer_types(keys: &mut Keys) -> Result<(), String> {
    let kinds: Vec<String> = keys.take("layer_types")?.unwrap_or_default();
    match kinds.iter().find(|kind| *kind != "full_attention") {
        Some(other) => {
            Err(format!("`layer_types` names `{other}`; only `full_attention` is supported"))
        }
        None => Ok(()),
    }
}

/// Adds the key to a `config.json` whose absence does not mean null. (TOML has no null: dimensions
/// in a plan or in `configs/models` without this key have no window.)
pub(crate) fn add_window(file: &mut Map<String, Value>) {
    if file.get("model_type").is_some_and(|name| name == "mistral") {
        file.entry("sliding_window").or_insert_with(|| MISTRAL_WINDOW.into());
    }
}

impl LlamaConfig {
    /// The longest sequence that is computed, in tokens, and the key that limits it. Up to its
    /// length a window changes nothing; a longer sequence is refused, never cut.
    pub fn context_limit(&self) -> (usize, &'static str) {
        let positions = self.max_position_embeddings;
        match self.family {
            Family::Mistral { sliding_window: Some(window) } if window < positions => {
                (window, "sliding_window")
            }
            _ => (positions, "max_position_embeddings"),
        }
    }

    /// Whether the queries and keys of each head have a norm.
    pub fn has_head_norms(&self) -> bool {
        matches!(self.family, Family::Qwen3 { .. })
    }
}

impl Target {
    /// Whether the layer has a bias.
    pub fn has_bias(self, model: &LlamaConfig) -> bool {
        let reads_hidden = matches!(self, Self::QProj | Self::KProj | Self::VProj);
        let in_attention = reads_hidden || self == Self::OProj;
        match model.family {
            Family::Llama { mlp_bias, .. } if !in_attention => mlp_bias,
            Family::Llama { attention_bias, .. } | Family::Qwen3 { attention_bias } => {
                in_attention && attention_bias
            }
            Family::Mistral { .. } => false,
            Family::Qwen2 => reads_hidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reads a small file of a family with these keys added, as a `config.json`.
    fn read(model_type: &str, keys: &Value) -> Result<LlamaConfig, String> {
        let file = json!({
            "model_type": model_type, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24, "vocab_size": 96,
            "max_position_embeddings": 8192
        });
        let mut file = file.as_object().unwrap().clone();
        file.extend(keys.as_object().unwrap().clone());
        add_window(&mut file);
        let config = LlamaConfig::try_from(file)?;
        config.check()?;
        Ok(config)
    }

    #[track_caller]
    fn refused(model_type: &str, keys: &Value, part: &str) {
        let problem = read(model_type, keys).expect_err(&keys.to_string());
        assert!(problem.contains(part), "{model_type} {keys}: {problem}");
    }

    fn biased(config: &LlamaConfig) -> Vec<&'static str> {
        Target::ALL.into_iter().filter(|target| target.has_bias(config)).map(Target::name).collect()
    }

    #[test]
    fn every_family_has_its_biases_and_norms() {
        let none: [&str; 0] = [];
        let attention = ["q_proj", "k_proj", "v_proj", "o_proj"];
        let mlp = ["gate_proj", "up_proj", "down_proj"];
        let (attention_bias, mlp_bias) =
            (json!({"attention_bias": true}), json!({"mlp_bias": true}));
        for (model_type, keys, biases) in [
            ("llama", json!({}), &none[..]),
            ("llama", attention_bias.clone(), &attention[..]),
            ("llama", mlp_bias, &mlp[..]),
            ("mistral", json!({}), &none[..]),
            ("qwen2", json!({}), &attention[..3]),
            ("qwen3", json!({}), &none[..]),
            ("qwen3", attention_bias, &attention[..]),
        ] {
            let config = read(model_type, &keys).unwrap();
            assert_eq!(biased(&config), biases, "{model_type} {keys}");
            assert_eq!(config.has_head_norms(), model_type == "qwen3");
        }
    }

    #[test]
    fn what_is_written_reads_back_and_names_its_class() {
        let all = [
            ("llama", json!({"attention_bias": true, "mlp_bias": true}), "LlamaForCausalLM"),
            ("mistral", json!({"sliding_window": null}), "MistralForCausalLM"),
            ("mistral", json!({"sliding_window": 4096}), "MistralForCausalLM"),
            ("qwen2", json!({"use_sliding_window": false}), "Qwen2ForCausalLM"),
            ("qwen3", json!({"attention_bias": true}), "Qwen3ForCausalLM"),
        ];
        for (model_type, keys, class) in all {
            let config = read(model_type, &keys).unwrap();
            let written = serde_json::to_value(&config).unwrap();
            assert_eq!(written["model_type"], model_type);
            assert_eq!(written["architectures"], json!([class]));
            assert_eq!(read(model_type, &written).unwrap(), config, "{model_type} {keys}");
        }
        // transformers takes a window of 4,096 tokens if the key is missing.
        let whole = read("mistral", &json!({"sliding_window": null})).unwrap();
        assert!(serde_json::to_string(&whole).unwrap().contains(r#""sliding_window":null"#));
        // The fingerprint of a base is that of its dimensions as they are written.
        let plain = serde_json::to_string(&read("llama", &json!({})).unwrap()).unwrap();
        assert!(plain.starts_with(
            r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_act":"silu","#
        ));
    }

    #[test]
    fn a_window_limits_the_context() {
        let limit = |keys: Value| read("mistral", &keys).unwrap().context_limit();
        assert_eq!(limit(json!({"sliding_window": null})), (8192, "max_position_embeddings"));
        assert_eq!(limit(json!({"sliding_window": 8192})), (8192, "max_position_embeddings"));
        assert_eq!(limit(json!({"sliding_window": 1024})), (1024, "sliding_window"));
        assert_eq!(limit(json!({})), (4096, "sliding_window"));
        refused("mistral", &json!({"sliding_window": 0}), "`sliding_window` is 0");
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        refused("qwen3_moe", &json!({}), "`model_type` is `qwen3_moe`; only `llama`, `mistral`");
        refused("qwen2", &json!({"use_sliding_window": true}), "`use_sliding_window` is true");
        for model_type in ["llama", "mistral", "qwen2", "qwen3"] {
            let kinds = json!(["full_attention", "sliding_attention"]);
            refused(model_type, &json!({"layer_types": kinds}), "names `sliding_attention`");
            read(model_type, &json!({"layer_types": ["full_attention", "full_attention"]}))
                .unwrap();
            refused(model_type, &json!({"partial_rotary_factor": 0.5}), "`partial_rotary_factor`");
            refused(model_type, &json!({"architectures": ["Qwen3MoeForCausalLM"]}), "Qwen3Moe");
        }
        refused("llama", &json!({"architectures": ["MistralForCausalLM"]}), "`LlamaForCausalLM`");
        refused("llama", &json!({"sliding_window": 1024}), "`sliding_window` is 1024");
        refused("mistral", &json!({"attention_bias": true}), "`attention_bias` is true");
        refused("qwen2", &json!({"mlp_bias": true}), "`mlp_bias` is true");
        refused("qwen2", &json!({"use_mrope": true}), "`use_mrope` is true");
        refused("qwen3", &json!({"head_dim": null}), "`head_dim` is missing");
        refused(
            "mistral",
            &json!({"num_key_value_heads": null}),
            "`num_key_value_heads` is missing",
        );
        // Without `use_sliding_window`, Qwen's other keys of windows have no effect.
        read("qwen2", &json!({"sliding_window": 4096, "max_window_layers": 1})).unwrap();
    }
}
