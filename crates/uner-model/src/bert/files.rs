//! Hugging Face folders of BERT: `config.json` and safetensors. Reads encoders of any head, and
//! token classifiers.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use memmap2::Mmap;
use safetensors::tensor::View;

use super::{BertConfig, TokenClassifier};
use crate::error::WeightsError;
use crate::source::ParameterSource;
use crate::weights::{Files, Random, Tensors, open, read_json, write_file};

/// Beginnings of the names of heads that a token classifier does not have.
const OTHER_HEADS: [&str; 4] = ["cls.", "pooler.", "bert.pooler.", "qa_outputs."];
/// A buffer that follows from the dimensions.
const POSITION_IDS: &str = "position_ids";
const CLASSIFIER: &str = "classifier.";

/// Reads `config.json` of a BERT folder.
///
/// # Errors
/// When it is missing, not JSON, lacks a key, or describes an encoder that is not supported.
pub fn read_config(folder: &Path) -> Result<BertConfig, WeightsError> {
    read_json(folder.join("config.json"), |config: BertConfig| {
        config.check()?;
        Ok(config)
    })
}

/// Loads a token classifier onto a device, as f32.
///
/// # Errors
/// When a file is missing or damaged, the weights do not fit `config.json`, or the folder has no
/// labels.
pub fn load(folder: &Path, device: &Device) -> Result<(BertConfig, TokenClassifier), WeightsError> {
    let config = read_config(folder)?;
    if config.id2label.is_empty() {
        return Err(WeightsError::Json {
            path: folder.join("config.json"),
            problem: "there is no `id2label`: this encoder is not trained to classify tokens"
                .to_owned(),
        });
    }
    let model = build(folder, &config, None, device)?;
    Ok((config, model))
}

/// Loads an encoder, and draws a classifier of `labels` from N(0, `initializer_range`²), as
/// transformers does. The encoder's own head, if it has one, is left out.
///
/// # Errors
/// As [`load`].
pub fn load_encoder(
    folder: &Path,
    labels: &[String],
    seed: u64,
    device: &Device,
) -> Result<(BertConfig, TokenClassifier), WeightsError> {
    let config = read_config(folder)?.with_labels(labels);
    let head = Random::new(config.initializer_range, seed, device);
    let model = build(folder, &config, Some(head), device)?;
    Ok((config, model))
}

/// The checkpoint name of a parameter whose path through the fields of [`TokenClassifier`] is
/// `path`: `self` cannot name a field.
pub fn checkpoint_name(path: &str) -> String {
    path.replace(".self_.", ".self.")
}

/// Writes `config.json` and the weights of a classifier, which are f32, by checkpoint name. The
/// folder must exist.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    parameters: Vec<(String, impl View)>,
    config: &BertConfig,
    folder: &Path,
) -> Result<(), WeightsError> {
    let mut config = config.clone();
    config.other.insert("torch_dtype".to_owned(), "float32".into());
    let text = serde_json::to_string_pretty(&config).map_err(std::io::Error::from)?;
    fs_err::write(folder.join("config.json"), text)?;
    write_file(parameters, &folder.join("model.safetensors"))
}

fn build(
    folder: &Path,
    config: &BertConfig,
    head: Option<Random>,
    device: &Device,
) -> Result<TokenClassifier, WeightsError> {
    let maps = open(folder)?;
    let tensors = tensors(&maps, head.is_some())?;
    let mut source =
        BertFiles { files: Files { tensors, device: device.clone(), form: None }, head };
    let model = TokenClassifier::build(config, &mut source)?;
    let fits = source.files.tensors.finish();
    fits.map_err(|problems| WeightsError::Mismatch { path: folder.to_owned(), problems })?;
    Ok(model)
}

/// The tensors of an encoder, with the classifier unless it is left out.
fn tensors(maps: &[(PathBuf, Mmap)], without_head: bool) -> Result<Tensors<'_>, WeightsError> {
    let mut tensors = Tensors::of_files(maps)?;
    tensors.retain(|name| {
        let is_other = OTHER_HEADS.iter().any(|head| name.starts_with(head))
            || name.ends_with(POSITION_IDS)
            || (without_head && name.starts_with(CLASSIFIER));
        !is_other
    });
    Ok(tensors)
}

/// Parameters from mapped files, under the names that checkpoints of BERT have had.
struct BertFiles<'a> {
    files: Files<'a>,
    /// Draws the classifier.
    head: Option<Random>,
}

impl ParameterSource for BertFiles<'_> {
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightsError> {
        if let Some(head) = self.head.as_mut().filter(|_| name.starts_with(CLASSIFIER)) {
            return head.tensor(name, shape);
        }
        let known = names(name).into_iter().find(|name| self.files.tensors.contains(name));
        self.files.tensor(&known.unwrap_or_else(|| name.to_owned()), shape)
    }
}

/// The names of a parameter: models without a head lack the first part, and the checkpoints of
/// Google call the weights of a norm `gamma` and `beta`.
fn names(name: &str) -> Vec<String> {
    let old = name
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta");
    let bare = |name: &str| name.strip_prefix("bert.").unwrap_or(name).to_owned();
    vec![name.to_owned(), bare(name), old.clone(), bare(&old)]
}
