//! Writing a Hugging Face model folder.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{View, serialize_to_file};

use super::WeightsError;
use crate::parameters::{Parameter, visit};
use crate::{Llama, LlamaConfig};

/// Largest shard, in bytes, as transformers writes them.
pub const MAX_SHARD_BYTES: usize = 5_000_000_000;

/// Writes `config.json` and the weights, in the element type that `config.torch_dtype` names, split into shards of
/// at most `max_shard_bytes` with an index where one file does not do. The folder must exist.
///
/// # Errors
/// When a file cannot be written, or when `torch_dtype` is none of `float32`, `float16`, `bfloat16`.
pub fn save(
    model: &Llama,
    config: &LlamaConfig,
    folder: &Path,
    max_shard_bytes: usize,
) -> Result<(), WeightsError> {
    let config_path = folder.join("config.json");
    let dtype = dtype_of(config).ok_or_else(|| WeightsError::Json {
        path: config_path.clone(),
        problem: format!(
            "`torch_dtype` `{}` cannot be written; use `float32` or `bfloat16`",
            config.torch_dtype
        ),
    })?;
    let text = serde_json::to_string_pretty(config)
        .map_err(|error| WeightsError::Json { path: config_path.clone(), problem: error.to_string() })?;
    fs_err::write(config_path, text)?;

    let mut parameters = Vec::new();
    visit(model, "", |parameter| parameters.push(Written { parameter, dtype }));
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
        for written in &shard {
            total_size += written.data_len();
            weight_map.insert(written.parameter.name.clone(), file.clone());
        }
        write_shard(shard, &folder.join(file))?;
    }
    if count > 1 {
        let index = serde_json::json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
        fs_err::write(folder.join("model.safetensors.index.json"), format!("{index:#}"))?;
    }
    Ok(())
}

fn write_shard(shard: Vec<Written>, path: &Path) -> Result<(), WeightsError> {
    // transformers refuses files without this entry.
    let metadata = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    let named: Vec<_> = shard.into_iter().map(|written| (written.parameter.name.clone(), written)).collect();
    serialize_to_file(named, Some(metadata), path).map_err(|error| {
        std::io::Error::other(format!("failed to write `{}`: {error}", path.display())).into()
    })
}

/// Parameters in order, a new shard whenever the next one would not fit.
fn split(parameters: Vec<Written>, max_shard_bytes: usize) -> Vec<Vec<Written>> {
    let mut shards = vec![Vec::new()];
    let mut size = 0;
    for written in parameters {
        let last = shards.last_mut().expect("there is always a shard");
        if size + written.data_len() > max_shard_bytes && !last.is_empty() {
            size = written.data_len();
            shards.push(vec![written]);
        } else {
            size += written.data_len();
            last.push(written);
        }
    }
    shards
}

fn dtype_of(config: &LlamaConfig) -> Option<Dtype> {
    match config.torch_dtype.as_str() {
        "float32" => Some(Dtype::F32),
        "float16" => Some(Dtype::F16),
        "bfloat16" => Some(Dtype::BF16),
        _ => None,
    }
}

/// A parameter whose bytes are made when they are written, not before.
struct Written {
    parameter: Parameter,
    dtype: Dtype,
}

impl View for Written {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.parameter.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values: Vec<f32> = self.parameter.values.clone().try_into_vec_as().expect("parameters are f32");
        Cow::Owned(match self.dtype {
            Dtype::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            Dtype::BF16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        self.parameter.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}
