//! Reads adapters.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::attach::matrix;
use super::fingerprint::{base_format_of, base_of};
use super::{Adapter, AdapterConfig, Base, BaseFormat, PREFIX, Target, peft};
use crate::linear::{Linear, Matrix};
use crate::span_head::SpanHead;
use crate::weights::{self, Tensors, WeightsError, are_finite, to_f32};
use crate::{Llama, LlamaConfig};

/// Loads the adapter in `folder` with its base: the model in `base`, or the one that the adapter
/// names. The base is quantised as it was when the adapter was trained, else as `form` says.
///
/// # Errors
/// As [`weights::load`] and [`load_adapter`], and when the base does not exist or is not the model
/// that the adapter was trained on.
pub fn load_adapted(
    folder: &Path,
    base: Option<&Path>,
    form: Option<BaseFormat>,
    device: &Device,
) -> Result<(LlamaConfig, Llama), WeightsError> {
    let named = if base.is_none() { base_of(folder)? } else { None };
    let path = base.or(named.as_deref()).ok_or_else(|| {
        WeightsError::Io(std::io::Error::other(format!("`{}` is not an adapter", folder.display())))
    })?;
    let base = Base { form: base_format_of(folder)?, ..Base::of(path)? };
    base.check(folder)?;
    let (config, model) = weights::load_frozen(path, base.form.or(form), device)?;
    let mut model = load_adapter(model, folder, device)?;
    let config = if model.span_head.is_some() { config.with_span_head() } else { config };
    if let Some(adapter) = &mut model.adapter {
        adapter.base = base;
    }
    Ok((config, model))
}

/// Attaches the adapter in `folder` to a model and freezes everything else.
///
/// # Errors
/// When a file is missing or damaged, when this kind of adapter is not supported, or when it does
/// not fit the model; the error then names every tensor at fault.
pub fn load_adapter(model: Llama, folder: &Path, device: &Device) -> Result<Llama, WeightsError> {
    let config = peft::read(folder)?;
    let scale = config.scale();
    let (path, map) = peft::open(folder)?;
    let mut tensors = Tensors::of_file(&path, &map)?;
    config.problems(tensors.names()).into_iter().for_each(|problem| tensors.note(problem));
    let mut reader = Reader { tensors, device };
    let mut adapter = AdapterConfig {
        rank: config.r,
        alpha: scale * config.r as f64,
        dropout: config.lora_dropout,
        target_modules: [].into(),
    };
    let mut model = model.no_grad();
    for (layer, block) in model.model.layers.iter_mut().enumerate() {
        for (target, (name, linear)) in Target::ALL.into_iter().zip(block.linears()) {
            let name = format!("{PREFIX}model.layers.{layer}.{name}");
            if reader.adapt(linear, &name, config.r, scale) {
                adapter.target_modules.insert(target);
            }
        }
    }
    if config.has_span_head {
        model.span_head = reader.span_head(model.model.norm.weight.dims()[0]);
        model.lm_head = None;
    }
    let fits = reader.tensors.finish();
    fits.map_err(|problems| WeightsError::Adapter { path: folder.to_owned(), problems })?;
    let base = Base { path: config.base_model_name_or_path.into(), fingerprint: None, form: None };
    model.adapter = Some(Adapter { config: adapter, base });
    Ok(model)
}

/// Reads the tensors of an adapter onto a device.
struct Reader<'a> {
    tensors: Tensors<'a>,
    device: &'a Device,
}

impl Reader<'_> {
    /// Sets the two factors of `linear` from the tensors under `name`. Returns whether they exist.
    fn adapt(&mut self, linear: &mut Linear, name: &str, rank: usize, scale: f64) -> bool {
        let [out, input] = linear.dims();
        let (down, up) = (format!("{name}.lora_A.weight"), format!("{name}.lora_B.weight"));
        if !self.tensors.contains(&down) && !self.tensors.contains(&up) {
            return false;
        }
        linear.lora_A = self.factor(&down, [rank, input]);
        linear.lora_B = self.factor(&up, [out, rank]);
        linear.lora_scale = scale;
        true
    }

    fn factor(&mut self, name: &str, shape: [usize; 2]) -> Option<Matrix> {
        Some(matrix(self.values(name, &shape)?, shape, self.device))
    }

    /// Reads the span head of a model with this hidden size.
    fn span_head(&mut self, hidden_size: usize) -> Option<SpanHead> {
        let [tokens, types, bias] = SpanHead::names().map(|name| format!("{PREFIX}{name}"));
        let (token_shape, type_shape, bias_shape) = SpanHead::shapes(hidden_size);
        let token_proj = self.factor(&tokens, token_shape);
        let type_proj = self.factor(&types, type_shape);
        let bias = self.values(&bias, &bias_shape);
        let data = TensorData::new(bias?, bias_shape);
        let bias = Param::from_tensor(Tensor::from_data(data, (self.device, DType::F32)));
        Some(SpanHead { token_proj: token_proj?, type_proj: type_proj?, bias })
    }

    fn values(&mut self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let values = to_f32(&self.tensors.take(name, shape)?);
        if !are_finite(&values) {
            self.tensors.note_not_finite(name);
        }
        Some(values)
    }
}
