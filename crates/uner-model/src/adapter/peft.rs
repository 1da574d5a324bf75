//! Reads and writes `adapter_config.json`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::{Adapter, SPAN_HEAD};
use crate::config::LARGEST_ALPHA;
use crate::keys::{Keys, is_nothing};
use crate::weights::{WeightsError, map_file, open_regular, read_config};

/// The file with an adapter's settings. A folder with this file holds an adapter.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The file with the factors.
pub(crate) const TENSORS_FILE: &str = "adapter_model.safetensors";

/// The file with the factors in PEFT's old, pickled format.
const PICKLED_FILE: &str = "adapter_model.bin";
/// Keys that do not change the computation: they say where the factors came from and how they were
/// trained.
const KEYS_THAT_DO_NOT_MATTER: [&str; 19] = [
    "arrow_config",
    "auto_mapping",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "layers_pattern",
    "loftq_config",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    "unsloth_version",
    "use_cache",
    "velora_config",
];
/// Initialisations that leave the base unchanged. Others (`PiSSA`, `OLoRA`, `CorDA`, `LoftQ`,
/// LoRA-GA) change it, so their factors belong to another base than the one that
/// the adapter names.
const STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// The settings that affect the computation.
#[derive(Debug)]
pub(crate) struct PeftConfig {
    pub(super) base_model_name_or_path: String,
    pub(crate) r: usize,
    lora_alpha: f64,
    pub(super) lora_dropout: f64,
    use_rslora: bool,
    /// The layers with factors: names, or a pattern.
    target_modules: Value,
    exclude_modules: Value,
    /// Whether the file has a span head.
    pub(crate) has_span_head: bool,
    layers_to_transform: Value,
}

impl TryFrom<Map<String, Value>> for PeftConfig {
    type Error = String;

    fn try_from(file: Map<String, Value>) -> Result<Self, String> {
        let mut keys = Keys::new("", file);
        let kind: String = keys.need("peft_type")?;
        if kind != "LORA" {
            return Err(format!("`peft_type` is `{kind}`; only `LORA` is supported"));
        }
        match keys.take::<Value>("init_lora_weights")? {
            None | Some(Value::Bool(_)) => {}
            Some(Value::String(start)) if STARTS.contains(&start.as_str()) => {}
            Some(start) => {
                return Err(format!(
                    "`init_lora_weights` is {start}: this initialisation changes the base, so the \
                     factors do not fit the published one; convert the adapter with PEFT \
                     (`path_initial_model_for_weight_conversion`), or merge it"
                ));
            }
        }
        let saved = keys.take::<Value>("modules_to_save")?.filter(|modules| !is_nothing(modules));
        let has_span_head = saved == Some(json!([SPAN_HEAD]));
        if let Some(modules) = saved.filter(|_| !has_span_head) {
            return Err(format!(
                "`modules_to_save` is {modules}: fully trained layers are not supported; merge the \
                 adapter with PEFT (`merge_and_unload`)"
            ));
        }
        match keys.take::<String>("bias")?.as_deref() {
            None | Some("none") => {}
            Some(bias) => {
                return Err(format!("`bias` is `{bias}`: trained biases are not supported"));
            }
        }
        let config = Self {
            has_span_head,
            base_model_name_or_path: keys.take("base_model_name_or_path")?.unwrap_or_default(),
            r: keys.need("r")?,
            lora_alpha: keys.need("lora_alpha")?,
            lora_dropout: keys.take("lora_dropout")?.unwrap_or(0.0),
            use_rslora: keys.take("use_rslora")?.unwrap_or(false),
            target_modules: keys.take("target_modules")?.unwrap_or_default(),
            exclude_modules: keys.take("exclude_modules")?.unwrap_or_default(),
            layers_to_transform: keys.take("layers_to_transform")?.unwrap_or_default(),
        };
        if config.r == 0 {
            return Err("`r` is 0; it must be at least 1".to_owned());
        }
        if config.lora_alpha.abs() > LARGEST_ALPHA || config.lora_alpha.is_nan() {
            return Err(format!(
                "`lora_alpha` is {}; its absolute value must be at most {LARGEST_ALPHA:e}",
                config.lora_alpha
            ));
        }
        keys.finish(&KEYS_THAT_DO_NOT_MATTER)?;
        Ok(config)
    }
}

impl PeftConfig {
    /// Lists where the settings and the factors in the file (`tensors`) disagree. PEFT would ignore
    /// such factors, or miss them.
    pub(crate) fn problems<'a>(&self, tensors: impl Iterator<Item = &'a String>) -> Vec<String> {
        let modules: BTreeSet<&str> =
            tensors.filter_map(|name| Some(name.split_once(".lora_")?.0)).collect();
        let names = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let is =
            |module: &str, name: &String| module == name || module.ends_with(&format!(".{name}"));
        let (targets, excluded) = (names(&self.target_modules), names(&self.exclude_modules));
        // PEFT reads a string as a pattern that has to match the whole name. A pattern that `regex`
        // cannot parse is not checked.
        let pattern = self.target_modules.as_str().filter(|text| *text != "all-linear");
        let pattern = pattern.and_then(|text| Regex::new(&format!("^(?:{text})$")).ok());
        let fits = |module: &str| {
            let name = module.strip_prefix(super::PREFIX).unwrap_or(module);
            pattern.as_ref().is_none_or(|pattern| pattern.is_match(name))
        };
        let layers: Vec<u64> = match &self.layers_to_transform {
            Value::Array(list) => list.iter().filter_map(Value::as_u64).collect(),
            layer => layer.as_u64().into_iter().collect(),
        };
        let mut problems = Vec::new();
        if modules.is_empty() {
            problems.push("the file has no factors".to_owned());
        }
        for module in &modules {
            let layer = module
                .split_once(".layers.")
                .and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
            let is_target = targets.is_empty() || targets.iter().any(|name| is(module, name));
            let key = if !is_target || !fits(module) {
                "target_modules"
            } else if excluded.iter().any(|name| is(module, name)) {
                "exclude_modules"
            } else if !layers.is_empty() && layer.is_none_or(|layer: u64| !layers.contains(&layer))
            {
                "layers_to_transform"
            } else {
                continue;
            };
            problems.push(format!(
                "`{module}` has factors, but `{key}` in `{CONFIG_FILE}` excludes it"
            ));
        }
        let without = targets.iter().filter(|name| !modules.iter().any(|module| is(module, name)));
        problems.extend(without.map(|name| {
            format!(
                "`target_modules` in `{CONFIG_FILE}` names `{name}`, but no such layer has factors"
            )
        }));
        problems
    }

    /// The factor of the adapter's term: `alpha / r`, or `alpha / sqrt(r)` for
    /// rank-stabilised adapters.
    pub(crate) fn scale(&self) -> f64 {
        let rank = self.r as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// Reads the settings of an adapter.
pub(crate) fn read(folder: &Path) -> Result<PeftConfig, WeightsError> {
    let path = folder.join(CONFIG_FILE);
    let text = std::io::read_to_string(open_regular(&path)?)?;
    let file: Result<Map<String, Value>, _> = serde_json::from_str(&text);
    file.map_err(|error| error.to_string())
        .and_then(PeftConfig::try_from)
        .map_err(|problem| WeightsError::Json { path, problem })
}

/// Whether the model or adapter in a folder has a [span head](crate::span_head).
///
/// # Errors
/// When its settings cannot be read.
pub fn has_span_head(folder: &Path) -> Result<bool, WeightsError> {
    if folder.join(CONFIG_FILE).exists() {
        return Ok(read(folder)?.has_span_head);
    }
    Ok(read_config(folder)?.span_head)
}

/// Opens the factors of an adapter.
pub(crate) fn open(folder: &Path) -> Result<(PathBuf, Mmap), WeightsError> {
    let (path, pickled) = (folder.join(TENSORS_FILE), folder.join(PICKLED_FILE));
    if !path.exists() && pickled.exists() {
        return Err(WeightsError::Pickled {
            path: pickled,
            made_by: "peft.AutoPeftModelForCausalLM",
        });
    }
    map_file(path)
}

/// Returns the text of `adapter_config.json`, with the keys of PEFT's `LoraConfig` that affect the
/// computation. Every version of PEFT reads them.
pub(super) fn text(adapter: &Adapter, has_span_head: bool) -> String {
    let config = &adapter.config;
    let targets: Vec<&str> = config.target_modules.iter().map(|target| target.name()).collect();
    // PEFT writes whole numbers as integers, and some readers require that.
    let alpha =
        if config.alpha.fract() == 0.0 { json!(config.alpha as i64) } else { json!(config.alpha) };
    let value = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base.path,
        "r": config.rank,
        "lora_alpha": alpha,
        "lora_dropout": config.dropout,
        "target_modules": targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layers_to_transform": null,
        "modules_to_save": has_span_head.then_some([SPAN_HEAD]),
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": false,
        "use_dora": false,
        "revision": null,
    });
    format!("{value:#}\n")
}
