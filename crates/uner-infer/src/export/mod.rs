//! Exports a tuned model with its tokenizer and its prompt format, as a folder or a GGUF file that
//! other programs read.

mod gguf;

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::Value;
use uner_data::regular;
use uner_model::adapter::{CONFIG_FILE, has_span_head};
use uner_model::export;
use uner_model::weights::inside;
use uner_model::{atomic, folder};
use uner_prompt::{PromptError, Template, Tokenizer, tokenizer_in};

use crate::error::InferError;
use crate::load::{INFER, TEMPLATE, TYPES, refuse};

/// Files that are copied along with a model, if they exist.
const COMPANIONS: [&str; 9] = [
    "tokenizer.json",
    "tokenizer.model",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "generation_config.json",
    CHAT_TEMPLATE,
    TEMPLATE,
    INFER,
    TYPES,
];
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// The model card, which the Hugging Face hub shows.
const CARD: &str = "README.md";
/// The prompt format, for people.
const PROMPT_FORMAT: &str = "PROMPT.md";

/// An export of a tuned model.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The folder of the model or adapter.
    pub folder: &'a Path,
    /// The folder of the model that an adapter belongs to.
    pub base: Option<&'a Path>,
    /// Whether an adapter is merged into its base.
    pub merge: bool,
    /// The element type of the weights; `None` keeps the model's.
    pub dtype: Option<Dtype>,
    /// Largest size of a weight file of a folder, in bytes.
    pub max_shard_bytes: usize,
    /// The model card, if there is one.
    pub card: Option<&'a str>,
}

impl Export<'_> {
    /// Writes a Hugging Face folder, which is complete or absent.
    ///
    /// # Errors
    /// When a file is missing, damaged, does not fit the others, or cannot be written.
    pub fn to_folder(&self, output: &Path) -> Result<(), InferError> {
        whole_folder(output, |unfinished| self.write(unfinished))
    }

    /// Writes a GGUF file. An adapter must be merged.
    ///
    /// # Errors
    /// As [`Self::to_folder`].
    pub fn to_gguf(&self, file: &Path) -> Result<(), InferError> {
        // An adapter of another program may have no tokenizer of its own.
        let tokenizer = self.folders().map(tokenizer_in).find(|file| file.exists());
        let tokenizer = tokenizer.unwrap_or_else(|| tokenizer_in(self.folder));
        let tokenizer = Tokenizer::from_file(&tokenizer).map_err(PromptError::from)?;
        let chat_template = match template_of(self.folder)? {
            Some(template) => chat_template(&template, &tokenizer)?,
            None => None,
        };
        let vocabulary = gguf::vocabulary(&tokenizer, chat_template)?;
        atomic::replace(file, |unfinished| {
            Ok(uner_model::gguf::write(&self.weights(), &vocabulary, unfinished)?)
        })
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        [Some(self.folder), self.base].into_iter().flatten()
    }

    /// The model that is exported, and the adapter that is merged into it.
    fn weights(&self) -> export::Export<'_> {
        let (model, adapter) = match self.base {
            _ if !self.folder.join(CONFIG_FILE).exists() => (self.folder, None),
            base => (base.unwrap_or(self.folder), Some(self.folder)),
        };
        let Self { dtype, max_shard_bytes, .. } = *self;
        export::Export { model, adapter, dtype, max_shard_bytes }
    }

    fn write(&self, output: &Path) -> Result<(), InferError> {
        if self.folder.join(CONFIG_FILE).exists() && !self.merge {
            export::adapter(self.folder, self.dtype, output)?;
        } else {
            export::model(&self.weights(), output)?;
        }
        let reads = has_span_head(output)?;
        for from in self.folders() {
            for name in COMPANIONS {
                let to = output.join(name);
                if from.join(name).exists() && !to.exists() {
                    fs_err::copy(inside(from, name)?, to)?;
                }
            }
        }
        if let Some(card) = self.card {
            fs_err::write(output.join(CARD), card)?;
        }
        match template_of(output)? {
            // A span head is not asked in words: the base's chat template does not fit.
            _ if reads => write_chat_template(None, output)?,
            Some(template) => write_prompt_format(&template, output)?,
            None => {}
        }
        Ok(folder::write_sums(output)?)
    }
}

/// Writes a new folder, which is complete or absent.
pub(crate) fn whole_folder(
    output: &Path,
    write: impl FnOnce(&Path) -> Result<(), InferError>,
) -> Result<(), InferError> {
    let unfinished = unfinished(output)?;
    if let Err(error) = write(&unfinished) {
        // Only the first error is reported. The next attempt removes files that are left.
        let _ = fs_err::remove_dir_all(&unfinished);
        return Err(error);
    }
    Ok(fs_err::rename(&unfinished, output)?)
}

/// Creates the empty folder that is written to, and renamed once it is complete.
fn unfinished(output: &Path) -> Result<PathBuf, InferError> {
    let Some(name) = output.file_name() else {
        return refuse(output, "it is not the path of a new folder".to_owned());
    };
    let mut name = name.to_owned();
    name.push(".tmp");
    let folder = output.with_file_name(name);
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}

/// The template that the model in a folder was trained with, if it is known.
fn template_of(folder: &Path) -> Result<Option<Template>, InferError> {
    let file = folder.join(TEMPLATE);
    if !file.exists() {
        return Ok(None);
    }
    Ok(Some(Template::parse(&regular::read_to_string(&file)?, &file.display().to_string())?))
}

/// The chat template for other programs. Warns if there is none.
fn chat_template(
    template: &Template,
    tokenizer: &Tokenizer,
) -> Result<Option<String>, PromptError> {
    let found = template.as_chat_template(tokenizer)?;
    if found.is_none() {
        tracing::warn!(
            "no chat template is written: with this tokenizer, prompts of other programs by the \
             template `{}` would not have the tokens that the model was trained on",
            template.name
        );
    }
    Ok(found)
}

/// Writes the prompt format for people and the chat template for other programs. Without one, the
/// base's template is removed: its prompts would differ from training.
fn write_prompt_format(template: &Template, output: &Path) -> Result<(), InferError> {
    let tokenizer = Tokenizer::from_file(&tokenizer_in(output)).map_err(PromptError::from)?;
    let chat_template = chat_template(template, &tokenizer)?;
    if chat_template.is_some() {
        fs_err::write(output.join(PROMPT_FORMAT), template.prompt_format())?;
    }
    write_chat_template(chat_template.as_deref(), output)
}

/// Writes the chat template of a model folder, for other programs, or removes it. It is written
/// twice, since not every program reads its own file.
pub(crate) fn write_chat_template(text: Option<&str>, output: &Path) -> Result<(), InferError> {
    let (file, config) = (output.join(CHAT_TEMPLATE), output.join(TOKENIZER_CONFIG));
    if config.exists() {
        let keys: Result<serde_json::Map<String, Value>, _> =
            serde_json::from_slice(&fs_err::read(&config)?);
        let mut keys =
            keys.or_else(|error| refuse(output, format!("`{TOKENIZER_CONFIG}`: {error}")))?;
        keys.remove("chat_template");
        keys.extend(text.map(|text| ("chat_template".to_owned(), text.into())));
        let text = serde_json::to_string_pretty(&keys).expect("JSON can be written as JSON");
        fs_err::write(&config, text)?;
    }
    match text {
        Some(text) => fs_err::write(file, text)?,
        None if file.exists() => fs_err::remove_file(file)?,
        None => {}
    }
    Ok(())
}
