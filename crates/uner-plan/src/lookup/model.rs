//! Looks up the model that a recipe starts from. Its dimensions are known without its weights.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use uner_data::did_you_mean;
use uner_model::LlamaConfig;
use uner_model::weights::read_config;
use uner_prompt::tokenizer_in;

use super::adapter;
use crate::builtin;
use crate::hub::HubRepo;
use crate::recipe::{ModelConfig, RANDOM, RecipeError, TRAIN};

/// Keys that a file in `configs/models` has in addition to those of `config.json`.
const ABOUT: [&str; 3] = ["source", "licence", "obtain"];
/// Keys of [`uner_model::config::Family`] that are written only if they have a value.
const OF_FAMILIES: [&str; 3] = ["attention_bias", "mlp_bias", "sliding_window"];

/// Where a model's weights are published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct About {
    /// Its paper or web address.
    pub source: String,
    /// Its licence.
    pub licence: String,
    /// How to get its files.
    pub obtain: String,
}

impl About {
    /// Returns `self` if the name of `weights` contains that of the file `config`, else nothing: a
    /// `model.config` left over from another recipe does not describe the user's own weights.
    fn of_weights(self, config: &str, weights: &str) -> Self {
        let config =
            Path::new(config).file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        if weights.to_lowercase().contains(&config) { self } else { Self::default() }
    }
}

/// The model that a recipe names, looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSource {
    /// The dimensions.
    pub config: LlamaConfig,
    /// Where the weights are published; empty unless a file in `configs/models` says so.
    pub about: About,
    /// The folder of the weights; `None` for random ones.
    pub folder: Option<PathBuf>,
    /// Whether that folder exists; true for random weights.
    pub present: bool,
    /// The hub repository of the weights; `None` if `model.weights` is not `hf:org/name`.
    pub hub: Option<HubRepo>,
    /// The tokenizer's file; `None` if the run trains one.
    pub tokenizer: Option<PathBuf>,
}

impl ModelSource {
    /// Looks up `[model]`.
    ///
    /// # Errors
    /// When random weights lack dimensions or a tokenizer, when dimensions do not exist or are
    /// invalid, when the folder contains only an adapter, or when it does not exist and nothing
    /// else gives the dimensions.
    pub fn find(model: &ModelConfig) -> Result<Self, RecipeError> {
        let hub = HubRepo::model(&model.weights)
            .map_err(|error| RecipeError::Contradiction(format!("`model.weights`: {error}")))?;
        let cached = hub.as_ref().and_then(HubRepo::cached);
        let folder = (model.weights != RANDOM)
            .then(|| cached.unwrap_or_else(|| PathBuf::from(&model.weights)));
        let present = folder.as_ref().is_none_or(|folder| folder.is_dir());
        let named = match &model.config {
            Some(name) => {
                let (config, about) = load_config(name)?;
                Some((config, about.of_weights(name, &model.weights)))
            }
            None => None,
        };
        let (config, about) = match (&folder, named) {
            (Some(folder), _) if present && adapter::is_adapter(folder) => {
                return Err(RecipeError::Names {
                    key: "model.weights",
                    value: model.weights.clone(),
                    problem:
                        "it holds an adapter, but training starts from a full model; merge the adapter with \
                              `uner export --merge`"
                            .to_owned(),
                });
            }
            (Some(folder), _) if present => {
                let config = read_config(folder).map_err(|error| RecipeError::Names {
                    key: "model.weights",
                    value: model.weights.clone(),
                    problem: error.to_string(),
                })?;
                (config, About::default())
            }
            (_, Some((config, about))) => (config, about),
            (Some(_), _) => {
                return Err(RecipeError::Names {
                    key: "model.weights",
                    value: model.weights.clone(),
                    problem: "there is no such folder; it must hold `config.json`, the weights as safetensors, and a \
                              tokenizer (or set it to `random` and give `model.config`)"
                        .to_owned(),
                });
            }
            (None, _) => {
                return Err(RecipeError::Contradiction(format!(
                    "`model.weights = \"{RANDOM}\"` needs the model's dimensions; set `model.config` to one of {}",
                    builtin_models()
                )));
            }
        };
        let config = with_head(config, model)?;
        let tokenizer = tokenizer_file(model, folder.as_deref())?;
        Ok(Self { config, about, folder, present, hub, tokenizer })
    }
}

/// The dimensions with the head that the recipe trains.
fn with_head(config: LlamaConfig, model: &ModelConfig) -> Result<LlamaConfig, RecipeError> {
    match model.head {
        Some(_) => Ok(config.with_span_head()),
        None if config.span_head => Err(RecipeError::Names {
            key: "model.weights",
            value: model.weights.clone(),
            problem: "the model has a span head and does not write; set `model.head = \"spans\"`"
                .to_owned(),
        }),
        None => Ok(config),
    }
}

fn tokenizer_file(
    model: &ModelConfig,
    folder: Option<&Path>,
) -> Result<Option<PathBuf>, RecipeError> {
    match (model.tokenizer.as_deref(), folder) {
        (Some(TRAIN), _) => Ok(None),
        (Some(file), _) => Ok(Some(PathBuf::from(file))),
        (None, Some(folder)) => Ok(Some(tokenizer_in(folder))),
        (None, None) => Err(RecipeError::Contradiction(format!(
            "`model.weights = \"{RANDOM}\"` comes without a tokenizer; set `model.tokenizer` to a file or to `{TRAIN}`"
        ))),
    }
}

/// Reads dimensions by a name from `configs/models`, or by the path of a file.
fn load_config(name: &str) -> Result<(LlamaConfig, About), RecipeError> {
    let fault = |problem: String| RecipeError::Names {
        key: "model.config",
        value: name.to_owned(),
        problem,
    };
    let text = match builtin::model(name) {
        Some(text) => text.to_owned(),
        None if Path::new(name).extension().is_some_and(|extension| extension == "toml") => {
            uner_data::regular::read_to_string(name.as_ref())
                .map_err(|error| fault(error.to_string()))?
        }
        None => {
            let hint = did_you_mean(name, builtin::model_names());
            return Err(fault(format!(
                "no such model{hint}; built in are {}, or give the path of a `.toml` file",
                builtin_models()
            )));
        }
    };
    parse_config(&text).map_err(fault)
}

fn parse_config(text: &str) -> Result<(LlamaConfig, About), String> {
    let parsed = |error: toml::de::Error| error.to_string().trim_end().to_owned();
    let mut table: toml::Table = text.parse().map_err(parsed)?;
    let keys = dimension_keys();
    let keys: Vec<&str> = keys.iter().map(String::as_str).chain(ABOUT).collect();
    if let Some(key) = table.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(format!("unknown key `{key}`{}", did_you_mean(key, keys.iter().copied())));
    }
    table.retain(|key, _| !ABOUT.contains(&key));
    let config: LlamaConfig = table.try_into().map_err(parsed)?;
    config.check()?;
    let about: About = toml::from_str(text).map_err(parsed)?;
    Ok((config, about))
}

/// The keys of a model's dimensions: those of a smallest model when it is serialised, and those
/// that only one family has.
fn dimension_keys() -> Vec<String> {
    let smallest = serde_json::json!({
        "hidden_size": 2, "intermediate_size": 1, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 1
    });
    let config: LlamaConfig = serde_json::from_value(smallest).expect("these keys are enough");
    let written = serde_json::to_value(&config).expect("dimensions are JSON");
    let of_llama = written.as_object().into_iter().flatten().map(|(key, _)| key.clone());
    of_llama.chain(OF_FAMILIES.map(str::to_owned)).collect()
}

fn builtin_models() -> String {
    builtin::model_names().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use uner_model::LlamaConfig;
    use uner_model::config::Family;

    use super::parse_config;

    #[test]
    fn unknown_keys_and_impossible_dimensions_are_named() {
        let text = "hidden_size = 8\nintermediate_size = 8\nnum_hidden_layers = 1\nnum_attention_heads = 2\nvocab_size = 9\n";
        assert_eq!(parse_config(text).unwrap().0.head_dim, 4);
        let error = parse_config(&format!("{text}rope_tetha = 1.0\n")).unwrap_err();
        assert_eq!(error, "unknown key `rope_tetha`; did you mean `rope_theta`?");
        let error = parse_config(&format!("{text}num_key_value_heads = 3\n")).unwrap_err();
        assert!(error.contains("`num_key_value_heads` 3"), "{error}");
    }

    #[test]
    fn keys_of_a_family_are_read() {
        let text = "hidden_size = 8\nintermediate_size = 8\nnum_hidden_layers = 1\nnum_attention_heads = 2\n\
                    num_key_value_heads = 2\nmax_position_embeddings = 64\nvocab_size = 9\n";
        let parse = |keys: &str| parse_config(&format!("{text}{keys}"));
        let biased = parse("attention_bias = true\n").unwrap().0;
        assert_eq!(biased.family, Family::Llama { attention_bias: true, mlp_bias: false });
        let limited = parse("model_type = \"mistral\"\nsliding_window = 32\n").unwrap().0;
        assert_eq!(limited.context_limit(), (32, "sliding_window"));
        let whole = parse("model_type = \"mistral\"\n").unwrap().0;
        assert_eq!(whole.context_limit(), (64, "max_position_embeddings"));
        // A plan has the dimensions as TOML, which has no null.
        for config in [biased, limited, whole] {
            let written = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<LlamaConfig>(&written).unwrap(), config, "{written}");
        }
    }
}
