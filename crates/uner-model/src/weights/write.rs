//! Writing a Hugging Face model folder.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{View, serialize_to_file};

use super::WeightsError;
use super::host::{HostTensor, Pending};
use crate::parameters::visit;
use crate::{Llama, LlamaConfig};

/// Largest shard, in bytes, as transformers writes them.
pub const MAX_SHARD_BYTES: usize = 5_000_000_000;

/// Writes `config.json` and the weights, in the element type that `config.torch_dtype` names, split into shards of
/// at most `max_shard_bytes` with an index where one file does not do. The folder must exist. Each parameter is read
/// from the device when it is written.
///
/// # Errors
/// When a file cannot be written, or when `torch_dtype` is none of `float32`, `float16`, `bfloat16`.
pub fn save(
    model: &Llama,
    config: &LlamaConfig,
    folder: &Path,
    max_shard_bytes: usize,
) -> Result<(), WeightsError> {
    let dtype = dtype_of(config)?;
    let mut parameters = Vec::new();
    visit(model, "", |parameter| {
        parameters.push((parameter.name.clone(), Pending { parameter, dtype }));
    });
    write(parameters, config, folder, max_shard_bytes)
}

/// Copies all parameters to the host, in order, as [`write()`] takes them: what is trained on meanwhile does not change
/// them, and any thread may write them.
///
/// # Errors
/// When `torch_dtype` is none of `float32`, `float16`, `bfloat16`.
pub fn to_host(model: &Llama, config: &LlamaConfig) -> Result<Vec<(String, HostTensor)>, WeightsError> {
    let dtype = dtype_of(config)?;
    let mut parameters = Vec::new();
    visit(model, "", |parameter| {
        parameters.push((parameter.name, HostTensor::read(parameter.values, parameter.shape, dtype)));
    });
    Ok(parameters)
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
    let config_path = folder.join("config.json");
    let text = serde_json::to_string_pretty(config)
        .map_err(|error| WeightsError::Json { path: config_path.clone(), problem: error.to_string() })?;
    fs_err::write(config_path, text)?;

    let shards = split(parameters, max_shard_bytes);
    let count = shards.len();
    let mut weight_map = BTreeMap::new();
    let mut total_size = 0;
    for (shard, number) in shards.into_iter().zip(1..) {
        let file = if count == 1 {
            "model.safetensors".to_owned()
        } else {
            format!("model-{number:05}-of-{count:05}.safetensors")
        };
        for (name, parameter) in &shard {
            total_size += parameter.data_len();
            weight_map.insert(name.clone(), file.clone());
        }
        write_shard(shard, &folder.join(file))?;
    }
    if count > 1 {
        let index = serde_json::json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
        fs_err::write(folder.join("model.safetensors.index.json"), format!("{index:#}"))?;
    }
    Ok(())
}

fn write_shard(shard: Vec<(String, impl View)>, path: &Path) -> Result<(), WeightsError> {
    // transformers refuses files without this entry.
    let metadata = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    serialize_to_file(shard, Some(metadata), path).map_err(|error| {
        std::io::Error::other(format!("failed to write `{}`: {error}", path.display())).into()
    })
}

/// Parameters in order, a new shard whenever the next one would not fit.
fn split<V: View>(parameters: Vec<(String, V)>, max_shard_bytes: usize) -> Vec<Vec<(String, V)>> {
    let mut shards = vec![Vec::new()];
    let mut size = 0;
    for (name, parameter) in parameters {
        let last = shards.last_mut().expect("there is always a shard");
        if size + parameter.data_len() > max_shard_bytes && !last.is_empty() {
            size = parameter.data_len();
            shards.push(vec![(name, parameter)]);
        } else {
            size += parameter.data_len();
            last.push((name, parameter));
        }
    }
    shards
}

fn dtype_of(config: &LlamaConfig) -> Result<Dtype, WeightsError> {
    match config.torch_dtype.as_str() {
        "float32" => Ok(Dtype::F32),
        "float16" => Ok(Dtype::F16),
        "bfloat16" => Ok(Dtype::BF16),
        other => Err(WeightsError::Json {
            path: "config.json".into(),
            problem: format!("`torch_dtype` `{other}` cannot be written; use `float32` or `bfloat16`"),
        }),
    }
}
