//! Writes a Hugging Face model folder.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::View;

use super::host::Pending;
use super::{WeightsError, write_safetensors};
use crate::parameters::visit;
use crate::{Llama, LlamaConfig};

/// Largest shard in bytes, as in transformers.
pub const MAX_SHARD_BYTES: usize = 5_000_000_000;

/// Writes `config.json` and the weights in the element type that `config.torch_dtype` names.
/// Weights of more than `max_shard_bytes` are split into shards with an index. The folder must
/// exist. Each parameter is read from the device when it is written.
///
/// # Errors
/// When a file cannot be written, or when `torch_dtype` is not `float32`, `float16` or `bfloat16`.
pub fn save(
    model: &Llama,
    config: &LlamaConfig,
    folder: &Path,
    max_shard_bytes: usize,
) -> Result<(), WeightsError> {
    let dtype = dtype_of(config, &folder.join("config.json"))?;
    let mut parameters = Vec::new();
    visit(model, "", |parameter| {
        parameters.push((parameter.name.clone(), Pending { parameter, dtype }));
    });
    write(parameters, config, folder, max_shard_bytes)
}

/// Writes `config.json` and these parameters, as [`save`] does.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    parameters: Vec<(String, impl View)>,
    config: &LlamaConfig,
    folder: &Path,
    max_shard_bytes: usize,
) -> Result<(), WeightsError> {
    write_config(config, folder)?;
    write_weights(parameters, folder, max_shard_bytes)
}

/// Writes `config.json`.
pub(crate) fn write_config(config: &LlamaConfig, folder: &Path) -> Result<(), WeightsError> {
    let path = folder.join("config.json");
    let text = serde_json::to_string_pretty(config)
        .map_err(|error| WeightsError::Json { path: path.clone(), problem: error.to_string() })?;
    Ok(fs_err::write(path, text)?)
}

/// Writes named tensors into shards of at most `max_shard_bytes`, with an index if there are
/// several.
pub(crate) fn write_weights<V: View>(
    tensors: Vec<(String, V)>,
    folder: &Path,
    max_shard_bytes: usize,
) -> Result<(), WeightsError> {
    let shards = split(tensors, max_shard_bytes);
    let count = shards.len();
    let mut weight_map = BTreeMap::new();
    let mut total_size = 0;
    for (shard, number) in shards.into_iter().zip(1..) {
        let file = if count == 1 {
            "model.safetensors".to_owned()
        } else {
            format!("model-{number:05}-of-{count:05}.safetensors")
        };
        for (name, tensor) in &shard {
            total_size += tensor.data_len();
            weight_map.insert(name.clone(), file.clone());
        }
        write_file(shard, &folder.join(file))?;
    }
    if count > 1 {
        let index = serde_json::json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
        fs_err::write(folder.join("model.safetensors.index.json"), format!("{index:#}"))?;
    }
    Ok(())
}

/// Writes one file of tensors as transformers reads it.
pub(crate) fn write_file<V: View>(
    tensors: Vec<(String, V)>,
    path: &Path,
) -> Result<(), WeightsError> {
    // transformers refuses files without this entry.
    Ok(write_safetensors(tensors, [("format".to_owned(), "pt".to_owned())], path)?)
}

/// Splits tensors in order: a new shard begins whenever the next tensor would not fit.
fn split<V: View>(tensors: Vec<(String, V)>, max_shard_bytes: usize) -> Vec<Vec<(String, V)>> {
    let mut shards = vec![Vec::new()];
    let mut size = 0;
    for tensor in tensors {
        let bytes = tensor.1.data_len();
        let last = shards.last_mut().expect("there is always a shard");
        if size + bytes > max_shard_bytes && !last.is_empty() {
            size = bytes;
            shards.push(vec![tensor]);
        } else {
            size += bytes;
            last.push(tensor);
        }
    }
    shards
}

/// Encodes values in an element type of weights.
pub(crate) fn stored(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        Dtype::BF16 => {
            values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()
        }
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// Returns the name of an element type of weights in `config.json`.
pub(crate) fn torch_dtype(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        _ => "float32",
    }
}

/// Returns the type that `torch_dtype` names; `path` is its file, for the error.
///
/// # Errors
/// When it is not `float32`, `float16` or `bfloat16`.
pub fn dtype_of(config: &LlamaConfig, path: &Path) -> Result<Dtype, WeightsError> {
    match config.torch_dtype.as_str() {
        "float32" => Ok(Dtype::F32),
        "float16" => Ok(Dtype::F16),
        "bfloat16" => Ok(Dtype::BF16),
        other => Err(WeightsError::Json {
            path: path.to_owned(),
            problem: format!("`torch_dtype` is `{other}`; use `float32`, `float16` or `bfloat16`"),
        }),
    }
}
