//! `adapter_config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::Adapter;
use crate::weights::WeightsError;

/// The settings of an adapter, and what tells a folder that holds one.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The factors.
pub(crate) const TENSORS_FILE: &str = "adapter_model.safetensors";

/// The keys that change what is computed.
#[derive(Debug, Deserialize)]
pub(crate) struct PeftConfig {
    peft_type: String,
    #[serde(default)]
    pub(super) base_model_name_or_path: String,
    pub(super) r: usize,
    lora_alpha: f64,
    #[serde(default)]
    pub(super) lora_dropout: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
}

impl PeftConfig {
    /// What the adapter's term is multiplied by: `alpha / r`, or `alpha / sqrt(r)` for rank-stabilised adapters.
    pub(crate) fn scale(&self) -> f64 {
        let rank = self.r as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// Reads the settings of an adapter.
pub(crate) fn read(folder: &Path) -> Result<PeftConfig, WeightsError> {
    let path = folder.join(CONFIG_FILE);
    let text = fs_err::read_to_string(&path)?;
    let config: PeftConfig = serde_json::from_str(&text)
        .map_err(|error| WeightsError::Json { path: path.clone(), problem: error.to_string() })?;
    let refuse = |problem: &str| Err(WeightsError::Json { path: path.clone(), problem: problem.to_owned() });
    if config.peft_type != "LORA" {
        return refuse(&format!("`peft_type` `{}` is not served, only `LORA`", config.peft_type));
    }
    if config.use_dora || !config.rank_pattern.is_empty() || !config.alpha_pattern.is_empty() {
        return refuse("`use_dora`, `rank_pattern` and `alpha_pattern` are not served");
    }
    if config.r == 0 {
        return refuse("`r` is 0");
    }
    Ok(config)
}

/// The text of `adapter_config.json`, with the keys of PEFT's `LoraConfig` that say what is computed; every version of
/// PEFT knows them.
pub(super) fn text(adapter: &Adapter) -> String {
    let config = &adapter.config;
    let targets: Vec<&str> = config.target_modules.iter().map(|target| target.name()).collect();
    // PEFT writes a whole number where it is one, and some readers insist on it.
    let alpha = if config.alpha.fract() == 0.0 { json!(config.alpha as i64) } else { json!(config.alpha) };
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
