//! The folder of a model: a checkpoint of a run, an exported or any Hugging Face folder, or an
//! adapter.
//!
//! Checkpoints have a manifest with the CRC-32 of every file, exported folders `SHA256SUMS`. Both
//! are compared with the files before the model is read.

mod manifest;
mod sums;

pub use manifest::write_manifest;
pub use sums::{SUMS, write_sums};

use std::path::Path;

use burn::tensor::Device;

use crate::adapter::{CONFIG_FILE, load_adapted};
use crate::{BaseFormat, Llama, LlamaConfig, WeightsError};

/// Reads the model of a folder, after a comparison of every file with its checksum. `base` is the
/// folder of the model that an adapter belongs to, if it is not where the adapter says.
///
/// # Errors
/// When the folder is unfinished, damaged or unreadable, and when the base is not
/// the adapted model.
pub fn load(
    folder: &Path,
    base: Option<&Path>,
    device: &Device,
) -> Result<(LlamaConfig, Llama), WeightsError> {
    load_quantized(folder, base, None, device)
}

/// As [`load`], for inference: with `form`, the layers of the blocks are quantised as they are
/// read. The base of an adapter that was trained on a quantised base keeps its own form.
///
/// # Errors
/// As [`load`].
pub fn load_quantized(
    folder: &Path,
    base: Option<&Path>,
    form: Option<BaseFormat>,
    device: &Device,
) -> Result<(LlamaConfig, Llama), WeightsError> {
    verify(folder)?;
    if folder.join(CONFIG_FILE).exists() {
        return load_adapted(folder, base, form, device);
    }
    crate::weights::load_frozen(folder, form, device)
}

/// Compares every file of a checkpoint or of an exported folder with its checksum; other folders
/// have none.
///
/// # Errors
/// When it is unfinished or damaged.
pub fn verify(folder: &Path) -> Result<(), WeightsError> {
    let is_checkpoint =
        ["state.json", "manifest.json"].iter().any(|file| folder.join(file).exists())
            || folder.file_name().is_some_and(|name| is_checkpoint_name(&name.to_string_lossy()));
    if is_checkpoint { manifest::verify(folder, |_| true) } else { sums::verify(folder) }
}

/// Compares the files of a checkpoint, except its tensors, with their checksums, for callers that
/// read them before the model.
///
/// # Errors
/// When the checkpoint is unfinished or such a file is damaged.
pub fn verify_extra_files(folder: &Path) -> Result<(), WeightsError> {
    manifest::verify(folder, |file| !file.ends_with(".safetensors"))
}

/// Whether a folder has the name of a finished checkpoint: `step-` and digits.
pub fn is_checkpoint_name(name: &str) -> bool {
    name.strip_prefix("step-")
        .is_some_and(|step| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()))
}
