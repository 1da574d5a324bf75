//! Reading a Hugging Face model folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;

use super::{Source, WeightsError, lasting};
use crate::adapter::BaseForm;
use crate::{Llama, LlamaConfig};

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Reads `config.json` of a model folder.
///
/// # Errors
/// When it is missing, not JSON, lacks a key, or describes something that is not a LLaMA.
pub fn read_config(folder: &Path) -> Result<LlamaConfig, WeightsError> {
    let path = folder.join("config.json");
    let text = fs_err::read_to_string(&path)?;
    let config: LlamaConfig = serde_json::from_str(&text)
        .map_err(|error| WeightsError::Json { path: path.clone(), problem: error.to_string() })?;
    config.check().map_err(|problem| WeightsError::Json { path, problem })?;
    Ok(config)
}

/// Loads a model folder onto a device, as f32.
///
/// # Errors
/// When a file is missing or torn, or when the weights do not fit `config.json`; then every parameter at fault is
/// named.
pub fn load(folder: &Path, device: &Device) -> Result<(LlamaConfig, Llama), WeightsError> {
    load_frozen(folder, None, device)
}

/// [`load`] for a model that stays as it is: the layers of its blocks are quantised as they come, one after the other, where
/// `form` says so.
///
/// # Errors
/// As [`load`].
pub fn load_frozen(
    folder: &Path,
    form: Option<BaseForm>,
    device: &Device,
) -> Result<(LlamaConfig, Llama), WeightsError> {
    let config = read_config(folder)?;
    let maps = open(folder)?;
    let tensors = views(&maps, &config)?;
    let mut source =
        Files { tensors, asked: BTreeSet::new(), problems: Vec::new(), device: device.clone(), form };
    let model = Llama::build(&config, &mut source)?;
    source.finish(folder)?;
    Ok((config, model))
}

/// The weight files of a folder.
pub(crate) fn open(folder: &Path) -> Result<Vec<(PathBuf, Mmap)>, WeightsError> {
    weight_files(folder)?.into_iter().map(map_file).collect()
}

/// The tensors of weight files by name.
pub(crate) fn views<'a>(
    maps: &'a [(PathBuf, Mmap)],
    config: &LlamaConfig,
) -> Result<BTreeMap<String, TensorView<'a>>, WeightsError> {
    let mut tensors = BTreeMap::new();
    for (path, map) in maps {
        let file = SafeTensors::deserialize(map)
            .map_err(|error| WeightsError::Torn { path: path.clone(), problem: error.to_string() })?;
        tensors.extend(file.tensors());
    }
    if config.tie_word_embeddings && !tensors.contains_key(EMBEDDING) {
        // Files that hold a tied matrix once may hold it under either name.
        tensors.extend(tensors.get(HEAD).cloned().map(|head| (EMBEDDING.to_owned(), head)));
    }
    Ok(tensors)
}

/// `model.safetensors`, or every shard that the index names.
pub(crate) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, WeightsError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index = folder.join("model.safetensors.index.json");
    if index.exists() {
        let text = fs_err::read_to_string(&index)?;
        let Index { weight_map } = serde_json::from_str(&text)
            .map_err(|error| WeightsError::Json { path: index, problem: error.to_string() })?;
        let shards: BTreeSet<String> = weight_map.into_values().collect();
        return Ok(shards.into_iter().map(|shard| folder.join(shard)).collect());
    }
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    Err(WeightsError::NoWeights { path: folder.to_owned() })
}

pub(crate) fn map_file(path: PathBuf) -> Result<(PathBuf, Mmap), WeightsError> {
    let file = fs_err::File::open(&path)?;
    // SAFETY: the map is read-only and lives for the load; a file that another process cuts short meanwhile is
    // beyond what any reader can guard.
    #[expect(unsafe_code, reason = "a 27 GB checkpoint is not read into memory twice")]
    let map = unsafe { Mmap::map(file.file())? };
    Ok((path, map))
}

/// Parameters out of mapped files. What does not fit is collected and told at the end, all at once.
struct Files<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    asked: BTreeSet<String>,
    problems: Vec<String>,
    device: Device,
    form: Option<BaseForm>,
}

impl Source for Files<'_> {
    fn base_form(&self) -> Option<BaseForm> {
        self.form
    }

    fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, WeightsError> {
        self.asked.insert(name.to_owned());
        let values = match self.tensors.get(name) {
            None => Err(format!("missing: `{name}` {shape:?}")),
            Some(view) if view.shape() != shape => {
                Err(format!("`{name}` has the shape {:?}, expected {shape:?}", view.shape()))
            }
            Some(view) => to_f32(view).ok_or_else(|| {
                format!("`{name}` has the type {:?}, expected F32, F16 or BF16", view.dtype())
            }),
        };
        Ok(match values {
            Ok(values) => lasting(TensorData::new(values, shape), &self.device),
            Err(problem) => {
                self.problems.push(problem);
                Tensor::empty(shape, &self.device)
            }
        })
    }
}

impl Files<'_> {
    fn finish(mut self, folder: &Path) -> Result<(), WeightsError> {
        for (name, view) in &self.tensors {
            if !self.asked.contains(name) && !may_be_extra(name) {
                self.problems.push(format!("unexpected: `{name}` {:?}", view.shape()));
            }
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(WeightsError::Mismatch { path: folder.to_owned(), problems: self.problems })
    }
}

/// Early checkpoints store the rotary frequencies, and tied ones sometimes a copy of the embedding as head.
fn may_be_extra(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq") || name == HEAD
}

/// The values of a view in f32; `None` for types that weights do not have.
pub(crate) fn to_f32(view: &TensorView) -> Option<Vec<f32>> {
    let data = view.data();
    let pairs = || data.chunks_exact(2).map(|bytes| [bytes[0], bytes[1]]);
    match view.dtype() {
        Dtype::F32 => Some(bytemuck::pod_collect_to_vec(data)),
        Dtype::F16 => Some(pairs().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect()),
        Dtype::BF16 => Some(pairs().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect()),
        _ => None,
    }
}
