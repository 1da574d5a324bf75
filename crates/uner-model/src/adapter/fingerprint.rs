//! The model that an adapter belongs to. Its weights are not copied: the adapter names their folder
//! and recognises them by a fingerprint.

use std::path::{Component, Path, PathBuf};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::peft::{self, CONFIG_FILE};
use crate::config::{Base, BaseFormat};
use crate::weights::{WeightsError, map_file, read_config, weight_files};

/// The file with the fingerprint, next to PEFT's files.
pub(crate) const BASE_FILE: &str = "base_model.json";

/// Bytes of every tensor that the fingerprint reads.
const SAMPLE: usize = 4096;

/// `base_model.json`
#[derive(Debug, Serialize, Deserialize)]
struct BaseFile {
    /// As eight hexadecimal digits.
    fingerprint: String,
    /// How it was computed, for readers of the file.
    fingerprint_of: String,
    /// The format its layers were quantised to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    form: Option<BaseFormat>,
}

impl Base {
    /// Identifies the model in `folder`. The fingerprint is the CRC-32 of its dimensions and, for
    /// each weight file, of the file's size, its header (names, shapes and types of the tensors)
    /// and the first 4 KiB of every tensor. It distinguishes a model from one that was trained
    /// further, without reading all of it.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn of(folder: &Path) -> Result<Self, WeightsError> {
        let mut checksum = crc32fast::Hasher::new();
        let config = serde_json::to_vec(&read_config(folder)?)
            .map_err(|error| WeightsError::Io(std::io::Error::other(error)))?;
        checksum.update(&config);
        for path in weight_files(folder)? {
            let (path, map) = map_file(path)?;
            let torn = |error: safetensors::SafeTensorError| WeightsError::Torn {
                path: path.clone(),
                problem: error.to_string(),
            };
            let (header, _) = SafeTensors::read_metadata(&map).map_err(torn)?;
            let file = SafeTensors::deserialize(&map).map_err(torn)?;
            checksum.update(&(map.len() as u64).to_le_bytes());
            checksum.update(&map[..header + size_of::<u64>()]);
            let mut tensors = file.tensors();
            tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (_, view) in tensors {
                checksum.update(&view.data()[..view.data().len().min(SAMPLE)]);
            }
        }
        let path = std::path::absolute(folder)?;
        Ok(Self { path, fingerprint: Some(checksum.finalize()), form: None })
    }

    /// Returns name and text of `base_model.json`; `None` without a fingerprint.
    pub(super) fn file(&self) -> Option<(&'static str, String)> {
        let file = BaseFile {
            fingerprint: format!("{:08x}", self.fingerprint?),
            fingerprint_of:
                "CRC-32 of the dimensions and, for each weight file, its size, its header and the first 4096 \
                             bytes of every tensor"
                    .to_owned(),
            form: self.form,
        };
        Some((BASE_FILE, serde_json::to_string_pretty(&file).expect("plain text is JSON")))
    }

    /// Refuses a model other than the one that the adapter in `adapter` was trained on. An adapter
    /// without `base_model.json` is not checked.
    pub(crate) fn check(&self, adapter: &Path) -> Result<(), WeightsError> {
        let Some(file) = BaseFile::read(adapter)? else { return Ok(()) };
        let found = format!("{:08x}", self.fingerprint.unwrap_or_default());
        if file.fingerprint == found {
            return Ok(());
        }
        Err(WeightsError::OtherBase {
            adapter: adapter.to_owned(),
            base: self.path.clone(),
            expected: file.fingerprint,
            found,
        })
    }
}

impl BaseFile {
    /// Reads the file of the adapter in `folder`; `None` if it has none.
    fn read(folder: &Path) -> Result<Option<Self>, WeightsError> {
        let path = folder.join(BASE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let file = serde_json::from_str(&fs_err::read_to_string(&path)?)
            .map_err(|error| WeightsError::Json { path, problem: error.to_string() })?;
        Ok(Some(file))
    }
}

/// Returns the format to which the base of the adapter in `folder` was quantised in training.
///
/// # Errors
/// When `base_model.json` cannot be read.
pub fn base_format_of(folder: &Path) -> Result<Option<BaseFormat>, WeightsError> {
    Ok(BaseFile::read(folder)?.and_then(|file| file.form))
}

/// Returns the folder of the model that the adapter in `folder` belongs to; `None` if `folder`
/// does not hold an adapter.
///
/// # Errors
/// When `adapter_config.json` cannot be read, or the folder that it names does not exist.
pub fn base_of(folder: &Path) -> Result<Option<PathBuf>, WeightsError> {
    if !folder.join(CONFIG_FILE).exists() {
        return Ok(None);
    }
    let base = PathBuf::from(peft::read(folder)?.base_model_name_or_path);
    if base.is_dir() {
        return Ok(Some(base));
    }
    let found = moved(&base, folder)?;
    found.map(Some).ok_or_else(|| WeightsError::NoBase { adapter: folder.to_owned(), base })
}

/// Finds the base of an adapter if both were moved together: looks for the end of the old path in
/// each folder above the adapter, and compares the fingerprint.
fn moved(base: &Path, adapter: &Path) -> Result<Option<PathBuf>, WeightsError> {
    if BaseFile::read(adapter)?.is_none() {
        return Ok(None);
    }
    let adapter_folder = std::path::absolute(adapter)?;
    let names: Vec<_> =
        base.components().filter(|component| matches!(component, Component::Normal(_))).collect();
    let ends = (1..names.len()).map(|skipped| names[skipped..].iter().collect::<PathBuf>());
    let candidates = ends.flat_map(|end| {
        adapter_folder.ancestors().skip(1).map(move |above| above.join(&end)).collect::<Vec<_>>()
    });
    let mut candidates = candidates.filter(|candidate| candidate.join("config.json").is_file());
    Ok(candidates
        .find(|candidate| Base::of(candidate).is_ok_and(|base| base.check(adapter).is_ok())))
}
