//! `LoRA` adapters (Hu et al. 2021) as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{SafeTensors, TensorView};
use serde::Deserialize;

use crate::Llama;
use crate::llama::{Linear, Matrix};
use crate::weights::{WeightsError, map_file, to_f32};

/// What PEFT puts before a parameter's name.
pub const PREFIX: &str = "base_model.model.";

/// The keys of `adapter_config.json` that change what is computed.
#[derive(Debug, Deserialize)]
struct AdapterConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
}

/// Puts the adapter in `folder` onto a model and freezes everything else.
///
/// # Errors
/// When a file is missing or torn, when the adapter is of a kind that is not served, or when it does not fit the model;
/// then every tensor at fault is named.
pub fn load_adapter(model: Llama, folder: &Path, device: &Device) -> Result<Llama, WeightsError> {
    let scale = read_config(folder)?;
    let (path, map) = map_file(folder.join("adapter_model.safetensors"))?;
    let file = SafeTensors::deserialize(&map)
        .map_err(|error| WeightsError::Torn { path, problem: error.to_string() })?;
    let mut reader = Reader { tensors: file.tensors().into_iter().collect(), problems: Vec::new(), device };
    let mut model = model.no_grad();
    for (layer, block) in model.model.layers.iter_mut().enumerate() {
        for (name, linear) in block.linears() {
            reader.adapt(linear, &format!("{PREFIX}model.layers.{layer}.{name}"), scale);
        }
    }
    let unexpected =
        reader.tensors.iter().map(|(name, view)| format!("unexpected: `{name}` {:?}", view.shape()));
    let problems: Vec<String> = reader.problems.into_iter().chain(unexpected).collect();
    if problems.is_empty() {
        Ok(model)
    } else {
        Err(WeightsError::Adapter { path: folder.to_owned(), problems })
    }
}

/// The scale of the adapter's term: `alpha / r`, or `alpha / sqrt(r)` for rank-stabilised adapters.
fn read_config(folder: &Path) -> Result<f64, WeightsError> {
    let path = folder.join("adapter_config.json");
    let text = fs_err::read_to_string(&path)?;
    let config: AdapterConfig = serde_json::from_str(&text)
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
    let rank = config.r as f64;
    Ok(config.lora_alpha / if config.use_rslora { rank.sqrt() } else { rank })
}

/// The tensors of an adapter that nobody has asked for yet.
struct Reader<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    problems: Vec<String>,
    device: &'a Device,
}

impl Reader<'_> {
    /// Gives `linear` the two factors stored under `name`, if there are any.
    fn adapt(&mut self, linear: &mut Linear, name: &str, scale: f64) {
        let [out, input] = linear.weight.dims();
        let (down, up) = (format!("{name}.lora_A.weight"), format!("{name}.lora_B.weight"));
        if !self.tensors.contains_key(&down) && !self.tensors.contains_key(&up) {
            return;
        }
        let rank = self.tensors.get(&down).map_or(0, |view| view.shape()[0]);
        linear.lora_A = self.factor(&down, [rank, input]);
        linear.lora_B = self.factor(&up, [out, rank]);
        linear.lora_scale = scale;
    }

    fn factor(&mut self, name: &str, shape: [usize; 2]) -> Option<Matrix> {
        let values = match self.tensors.remove(name) {
            None => Err(format!("missing: `{name}` {shape:?}")),
            Some(view) if view.shape() != shape => {
                Err(format!("`{name}` has the shape {:?}, expected {shape:?}", view.shape()))
            }
            Some(view) => to_f32(&view).ok_or_else(|| format!("`{name}` has the type {:?}", view.dtype())),
        };
        match values {
            Ok(values) => {
                let tensor = Tensor::from_data(TensorData::new(values, shape), self.device);
                Some(Matrix { weight: Param::from_tensor(tensor) })
            }
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }
}
