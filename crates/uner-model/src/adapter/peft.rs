//! `adapter_config.json`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::Adapter;
use crate::keys::{Keys, is_nothing};
use crate::weights::{WeightsError, map_file, open_regular};

/// The settings of an adapter, and what tells a folder that holds one.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The factors.
pub(crate) const TENSORS_FILE: &str = "adapter_model.safetensors";

/// The factors as PEFT pickled them before.
const PICKLED_FILE: &str = "adapter_model.bin";
/// Keys that do not change what is computed from the factors in the file: where they came from, how
/// they were trained.
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
/// Many times that of any adapter.
pub(super) const LARGEST_ALPHA: f64 = 1e6;

/// Starts of the factors that leave the base as it is. Those that take something away from it
/// (`PiSSA`, `OLoRA`, `CorDA`, `LoftQ`, LoRA-GA) make factors for another base than the one that
/// the adapter names.
const STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// What the settings say of the computation.
#[derive(Debug)]
pub(crate) struct PeftConfig {
    pub(super) base_model_name_or_path: String,
    pub(crate) r: usize,
    lora_alpha: f64,
    pub(super) lora_dropout: f64,
    use_rslora: bool,
    /// Which layers have factors: names, or a pattern.
    target_modules: Value,
    exclude_modules: Value,
    layers_to_transform: Value,
}

impl TryFrom<Map<String, Value>> for PeftConfig {
    type Error = String;

    fn try_from(file: Map<String, Value>) -> Result<Self, String> {
        let mut keys = Keys::new("", file);
        let kind: String = keys.need("peft_type")?;
        if kind != "LORA" {
            return Err(format!("`peft_type` is `{kind}`, which is not served, only `LORA`"));
        }
        match keys.take::<Value>("init_lora_weights")? {
            None | Some(Value::Bool(_)) => {}
            Some(Value::String(start)) if STARTS.contains(&start.as_str()) => {}
            Some(start) => {
                return Err(format!(
                    "`init_lora_weights` is {start}: such factors belong to a base from which their start was taken away; let PEFT \
                     convert the adapter to a plain one (`path_initial_model_for_weight_conversion`), or merge it"
                ));
            }
        }
        if let Some(modules) =
            keys.take::<Value>("modules_to_save")?.filter(|modules| !is_nothing(modules))
        {
            return Err(format!(
                "`modules_to_save` is {modules}: whole layers beside the factors are not served; let PEFT merge the adapter \
                 (`merge_and_unload`)"
            ));
        }
        match keys.take::<String>("bias")?.as_deref() {
            None | Some("none") => {}
            Some(bias) => return Err(format!("`bias` is `{bias}`: trained biases are not served")),
        }
        let config = Self {
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
            return Err("`r` is 0".to_owned());
        }
        if config.lora_alpha.abs() > LARGEST_ALPHA || config.lora_alpha.is_nan() {
            return Err(format!(
                "`lora_alpha` is {}, which is not that of an adapter",
                config.lora_alpha
            ));
        }
        keys.finish(&KEYS_THAT_DO_NOT_MATTER)?;
        Ok(config)
    }
}

impl PeftConfig {
    /// Where the settings and the factors, by the names of their tensors, do not say the same: PEFT
    /// would leave such factors out, or miss them.
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
        // As PEFT reads a text: a pattern that has to fit the whole name. One that this crate does
        // not read says nothing.
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
                "`{module}` has factors, and `{key}` in `{CONFIG_FILE}` says that it has none"
            ));
        }
        let without = targets.iter().filter(|name| !modules.iter().any(|module| is(module, name)));
        problems.extend(without.map(|name| {
            format!(
                "`target_modules` in `{CONFIG_FILE}` names `{name}`, and no such layer has factors"
            )
        }));
        problems
    }

    /// What the adapter's term is multiplied by: `alpha / r`, or `alpha / sqrt(r)` for
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

/// The text of `adapter_config.json`, with the keys of PEFT's `LoraConfig` that say what is
/// computed; every version of PEFT knows them.
pub(super) fn text(adapter: &Adapter) -> String {
    let config = &adapter.config;
    let targets: Vec<&str> = config.target_modules.iter().map(|target| target.name()).collect();
    // PEFT writes a whole number where it is one, and some readers insist on it.
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
        "modules_to_save": null,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": false,
        "use_dora": false,
        "revision": null,
    });
    format!("{value:#}\n")
}
