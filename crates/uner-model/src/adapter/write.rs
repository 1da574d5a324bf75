//! Writes adapters as PEFT does.

use std::path::Path;

use burn::tensor::DType;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Adapter, CONFIG_FILE, PREFIX, SPAN_HEAD, peft};
use crate::Llama;
use crate::parameters::visit;
use crate::weights::{WeightsError, write_file};

/// The files of an adapter, in host memory, so that another thread can write them.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFiles {
    /// Names and texts of `adapter_config.json` and of `base_model.json` (the base's fingerprint).
    pub texts: Vec<(&'static str, String)>,
    /// `adapter_model.safetensors`: PEFT's name, shape and values of each factor, and of the span
    /// head's parameters.
    pub tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

/// Returns the files of a model's adapter; `None` if it has none.
///
/// # Panics
/// When the device cannot be read.
pub fn files(model: &Llama) -> Option<AdapterFiles> {
    let adapter: &Adapter = model.adapter.as_ref()?;
    let has_span_head = model.span_head.is_some();
    let texts = [(CONFIG_FILE, peft::text(adapter, has_span_head))]
        .into_iter()
        .chain(adapter.base.file())
        .collect();
    let mut tensors = Vec::new();
    visit(model, "", |parameter| {
        if parameter.name.contains(".lora_") || parameter.name.starts_with(SPAN_HEAD) {
            let values = parameter
                .values
                .cast(DType::F32)
                .try_into_vec_as()
                .expect("the parameters of an adapter are f32");
            tensors.push((format!("{PREFIX}{}", parameter.name), parameter.shape, values));
        }
    });
    Some(AdapterFiles { texts, tensors })
}

impl AdapterFiles {
    /// Writes the files into `folder`, which must exist.
    ///
    /// # Errors
    /// When a file cannot be written.
    ///
    /// # Panics
    /// When the number of values differs from a shape.
    pub fn write(&self, folder: &Path) -> Result<(), WeightsError> {
        for (name, text) in &self.texts {
            fs_err::write(folder.join(name), text)?;
        }
        let path = folder.join(peft::TENSORS_FILE);
        let views = self.tensors.iter().map(|(name, shape, values)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
            (name.clone(), view.expect("as many values as the shape says"))
        });
        write_file(views.collect(), &path)
    }
}
