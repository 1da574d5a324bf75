//! Reading adapters.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use safetensors::tensor::{SafeTensors, TensorView};

use super::attach::matrix;
use super::fingerprint::{Base, base_form_of, base_of};
use super::{Adapter, AdapterConfig, PREFIX, Target, peft};
use crate::llama::{Linear, Matrix};
use crate::weights::{self, WeightsError, map_file, to_f32};
use crate::{Llama, LlamaConfig};

/// Loads the adapter in `folder` onto its base: the one in `base`, or the one that the adapter names.
///
/// # Errors
/// As [`weights::load`] and [`load_adapter`], and when the base is not there or not the model that was adapted.
pub fn load_adapted(
    folder: &Path,
    base: Option<&Path>,
    device: &Device,
) -> Result<(LlamaConfig, Llama), WeightsError> {
    let named = if base.is_none() { base_of(folder)? } else { None };
    let path = base.or(named.as_deref()).ok_or_else(|| {
        WeightsError::Io(std::io::Error::other(format!("`{}` holds no adapter", folder.display())))
    })?;
    let base = Base { form: base_form_of(folder)?, ..Base::of(path)? };
    base.check(folder)?;
    let (config, model) = weights::load_frozen(path, base.form, device)?;
    let mut model = load_adapter(model, folder, device)?;
    if let Some(adapter) = &mut model.adapter {
        adapter.base = base;
    }
    Ok((config, model))
}

/// Puts the adapter in `folder` onto a model and freezes everything else.
///
/// # Errors
/// When a file is missing or torn, when the adapter is of a kind that is not served, or when it does not fit the model;
/// then every tensor at fault is named.
pub fn load_adapter(model: Llama, folder: &Path, device: &Device) -> Result<Llama, WeightsError> {
    let config = peft::read(folder)?;
    let scale = config.scale();
    let (path, map) = map_file(folder.join(peft::TENSORS_FILE))?;
    let file = SafeTensors::deserialize(&map)
        .map_err(|error| WeightsError::Torn { path, problem: error.to_string() })?;
    let mut reader = Reader { tensors: file.tensors().into_iter().collect(), problems: Vec::new(), device };
    let mut adapter = AdapterConfig {
        rank: config.r,
        alpha: scale * config.r as f64,
        dropout: config.lora_dropout,
        target_modules: [].into(),
    };
    let mut model = model.no_grad();
    for (layer, block) in model.model.layers.iter_mut().enumerate() {
        for (target, (name, linear)) in Target::ALL.into_iter().zip(block.linears()) {
            if reader.adapt(linear, &format!("{PREFIX}model.layers.{layer}.{name}"), scale) {
                adapter.target_modules.insert(target);
            }
        }
    }
    let unexpected =
        reader.tensors.iter().map(|(name, view)| format!("unexpected: `{name}` {:?}", view.shape()));
    let problems: Vec<String> = reader.problems.into_iter().chain(unexpected).collect();
    if !problems.is_empty() {
        return Err(WeightsError::Adapter { path: folder.to_owned(), problems });
    }
    let base = Base { path: config.base_model_name_or_path.into(), fingerprint: None, form: None };
    model.adapter = Some(Adapter { config: adapter, base });
    Ok(model)
}

/// The tensors of an adapter that nobody has asked for yet.
struct Reader<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    problems: Vec<String>,
    device: &'a Device,
}

impl Reader<'_> {
    /// Gives `linear` the two factors stored under `name`; answers whether there are any.
    fn adapt(&mut self, linear: &mut Linear, name: &str, scale: f64) -> bool {
        let [out, input] = linear.dims();
        let (down, up) = (format!("{name}.lora_A.weight"), format!("{name}.lora_B.weight"));
        if !self.tensors.contains_key(&down) && !self.tensors.contains_key(&up) {
            return false;
        }
        let rank = self.tensors.get(&down).map_or(0, |view| view.shape()[0]);
        linear.lora_A = self.factor(&down, [rank, input]);
        linear.lora_B = self.factor(&up, [out, rank]);
        linear.lora_scale = scale;
        true
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
            Ok(values) => Some(matrix(values, shape, self.device)),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }
}
