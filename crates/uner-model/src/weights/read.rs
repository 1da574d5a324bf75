//! Reads a Hugging Face model folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ParameterSource, Tensors, WeightsError, inside, lasting, open_regular};
use crate::config::BaseFormat;
use crate::config::family::add_window;
use crate::config::file::ends_of_generation;
use crate::{Llama, LlamaConfig};

/// Reads `config.json` of a model folder, and adds the end-of-sequence tokens of
/// `generation_config.json`.
///
/// # Errors
/// When it is missing, not JSON, lacks a key, or describes a model that is not supported.
pub fn read_config(folder: &Path) -> Result<LlamaConfig, WeightsError> {
    let mut config = read_json(folder.join("config.json"), |mut file: Map<String, Value>| {
        add_window(&mut file);
        let config = LlamaConfig::try_from(file)?;
        config.check()?;
        Ok(config)
    })?;
    let generation = inside(folder, "generation_config.json")?;
    if generation.exists() {
        let more = read_json(generation, ends_of_generation)?;
        let new: Vec<u32> =
            more.into_iter().filter(|id| !config.eos_token_id.contains(id)).collect();
        config.eos_token_id.extend(new);
    }
    Ok(config)
}

/// Parses a JSON file and converts it with `read`.
pub(crate) fn read_json<T: DeserializeOwned, R>(
    path: PathBuf,
    read: impl FnOnce(T) -> Result<R, String>,
) -> Result<R, WeightsError> {
    let text = std::io::read_to_string(open_regular(&path)?)?;
    let parsed = serde_json::from_str(&text).map_err(|error| error.to_string());
    parsed.and_then(read).map_err(|problem| WeightsError::Json { path, problem })
}

/// Loads a model folder onto a device, as f32.
///
/// # Errors
/// When a file is missing or damaged, or when the weights do not fit `config.json`; the error then
/// names every parameter at fault.
pub fn load(folder: &Path, device: &Device) -> Result<(LlamaConfig, Llama), WeightsError> {
    load_frozen(folder, None, device)
}

/// Loads a model that is not trained. With `form`, the layers of its blocks are quantised one by
/// one as they are read.
///
/// # Errors
/// As [`load`].
pub fn load_frozen(
    folder: &Path,
    form: Option<BaseFormat>,
    device: &Device,
) -> Result<(LlamaConfig, Llama), WeightsError> {
    let config = read_config(folder)?;
    let maps = open(folder)?;
    let tensors = Tensors::of_model(&maps, &config)?;
    let mut source = Files { tensors, device: device.clone(), form };
    let model = Llama::build(&config, &mut source)?;
    let fits = source.tensors.finish();
    fits.map_err(|problems| WeightsError::Mismatch { path: folder.to_owned(), problems })?;
    Ok((config, model))
}

/// Opens the weight files of a folder.
pub(crate) fn open(folder: &Path) -> Result<Vec<(PathBuf, Mmap)>, WeightsError> {
    weight_files(folder)?.into_iter().map(map_file).collect()
}

/// Returns `model.safetensors` or, if it does not exist, every shard in the index, as transformers
/// does.
pub(crate) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, WeightsError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    let index = folder.join("model.safetensors.index.json");
    if index.exists() {
        let text = std::io::read_to_string(open_regular(&index)?)?;
        let Index { weight_map } = serde_json::from_str(&text)
            .map_err(|error| WeightsError::Json { path: index, problem: error.to_string() })?;
        let shards: BTreeSet<String> = weight_map.into_values().collect();
        return shards.iter().map(|shard| inside(folder, shard)).collect();
    }
    Err(pickled(folder).unwrap_or_else(|| WeightsError::NoWeights { path: folder.to_owned() }))
}

/// Returns the error for a folder whose weights are pickled, as `torch.save` writes them.
fn pickled(folder: &Path) -> Option<WeightsError> {
    const ENDINGS: [&str; 4] = ["bin", "pt", "pth", "ckpt"];
    let mut files: Vec<PathBuf> =
        fs_err::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let is_pickled = |path: &PathBuf| {
        path.extension().is_some_and(|end| ENDINGS.iter().any(|other| end == *other))
    };
    Some(WeightsError::Pickled {
        path: files.into_iter().find(is_pickled)?,
        made_by: "transformers.AutoModelForCausalLM",
    })
}

pub(crate) fn map_file(path: PathBuf) -> Result<(PathBuf, Mmap), WeightsError> {
    let file = open_regular(&path)?;
    // SAFETY: the map is read-only and is dropped after loading. No reader can guard against
    // another process that truncates the file meanwhile.
    #[expect(unsafe_code, reason = "a 27 GB checkpoint is not read into memory twice")]
    let map = unsafe { Mmap::map(file.file())? };
    if map.starts_with(b"version https://git-lfs") {
        return Err(WeightsError::Pointer(path));
    }
    Ok((path, map))
}

/// Parameters from mapped files.
pub(crate) struct Files<'a> {
    pub(crate) tensors: Tensors<'a>,
    pub(crate) device: Device,
    pub(crate) form: Option<BaseFormat>,
}

impl ParameterSource for Files<'_> {
    fn base_format(&self) -> Option<BaseFormat> {
        self.form.filter(|_| !self.tensors.has_problems())
    }

    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightsError> {
        Ok(match self.tensors.take(name, &shape) {
            Some(view) => {
                let values = to_f32(&view);
                if !are_finite(&values) {
                    self.tensors.note_not_finite(name);
                }
                lasting(TensorData::new(values, shape), &self.device)
            }
            // Loading will fail, and a wrong configuration may name any size.
            None => Tensor::empty([0; D], &self.device),
        })
    }
}

/// Whether all values are finite. Each chunk is checked without an early exit, so that the compiler
/// vectorises it.
pub(crate) fn are_finite(values: &[f32]) -> bool {
    values.chunks(1024).all(|group| group.iter().fold(true, |all, value| all & value.is_finite()))
}

/// Converts the values of a view (f32, f16 or bf16) to f32.
///
/// # Panics
/// When it has another type.
pub(crate) fn to_f32(view: &TensorView) -> Vec<f32> {
    let data = view.data();
    let pairs = || data.chunks_exact(2).map(|bytes| [bytes[0], bytes[1]]);
    match view.dtype() {
        Dtype::F32 => bytemuck::pod_collect_to_vec(data),
        Dtype::F16 => pairs().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        other => panic!("weights are F32, F16 or BF16, not {other:?}"),
    }
}
