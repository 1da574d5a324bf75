//! Reads a tuned model with its tokenizer and template from a folder.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use uner_data::regular;
use uner_model::adapter::Base;
use uner_model::{BaseFormat, Llama, LlamaConfig, folder};
use uner_prompt::{PromptError, Template, Tokenizer, tokenizer_in};

use crate::error::InferError;
use crate::predict::{Decoding, InferConfig, Part, Predictor, WeightsOf};

/// The file of a model's template.
pub const TEMPLATE: &str = "template.toml";
/// The file that says how answers are generated.
pub const INFER: &str = "infer.toml";

/// The file with the entity types that a model was trained on, one per line, from frequent to rare.
pub const TYPES: &str = "types.txt";

/// Options that replace those of a model's folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadOptions {
    /// The folder of the model that an adapter belongs to.
    pub base: Option<PathBuf>,
    /// A built-in template or the path of one.
    pub template: Option<String>,
    /// Longest answer, in tokens.
    pub max_new_tokens: Option<usize>,
    /// Queries decoded together.
    pub queries_per_batch: Option<usize>,
    /// What an answer may contain.
    pub decoding: Option<Decoding>,
    /// Quantises the layers of the blocks to 8 bits. On the CPU, their products quantise their
    /// input, too.
    pub int8: bool,
}

impl Predictor<'static> {
    /// Reads the model in a folder: a checkpoint or an export of uner.
    ///
    /// # Errors
    /// As [`Predictor::load_with`].
    pub fn load(folder: &Path, device: &Device) -> Result<Self, InferError> {
        Self::load_with(folder, device, &LoadOptions::default())
    }

    /// Reads the model in a folder, with options that replace the folder's. A folder of another
    /// program needs a template.
    ///
    /// # Errors
    /// When a file is missing, damaged or does not fit the others.
    pub fn load_with(
        folder: &Path,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self, InferError> {
        let form = options.int8.then_some(BaseFormat::EightBit);
        let (config, model) =
            folder::load_quantized(folder, options.base.as_deref(), form, device)?;
        refuse_writing_options(folder, &config, options)?;
        let base = weights_of(folder, &model, form)?;
        let model = match *device == Device::flex() {
            true if options.int8 => model.pack_int8(),
            true => model.pack(),
            false => model,
        };
        let mut infer = infer_config(folder, &config, options.max_new_tokens)?;
        infer.decoding = options.decoding.unwrap_or(infer.decoding);
        infer.queries_per_batch = options.queries_per_batch.unwrap_or(infer.queries_per_batch);
        let template = template(folder, options.template.as_deref())?;
        let tokenizer = Tokenizer::from_file(&tokenizer_in(folder)).map_err(PromptError::from)?;
        compare(&tokenizer, &config, folder)?;
        let predictor = Self::from_parts((model, config), tokenizer, template, infer)?;
        Ok(Self { base, ..predictor })
    }

    /// The same predictor with the weights of `other`, if both were read from one base in one
    /// format: adapters of one base then need the memory of one model.
    #[must_use]
    pub fn sharing(self, other: &Predictor) -> Self {
        if self.base.is_none() || self.base != other.base || self.device() != other.device() {
            return self;
        }
        match self.model {
            Part::Owned(model) => Self { model: own(model.sharing(&other.model)), ..self },
            Part::Borrowed(_) => self,
        }
    }

    /// A predictor that owns its parts.
    ///
    /// # Errors
    /// When the model's chat template does not end an answer with a special token.
    pub fn from_parts(
        (model, config): (Llama, LlamaConfig),
        tokenizer: Tokenizer,
        template: Template,
        infer: InferConfig,
    ) -> Result<Self, PromptError> {
        Self::of((own(model), own(config)), own(tokenizer), own(template), infer)
    }
}

/// Refuses options of written answers for a model that reads entities.
fn refuse_writing_options(
    folder: &Path,
    config: &LlamaConfig,
    options: &LoadOptions,
) -> Result<(), InferError> {
    let LoadOptions { template, max_new_tokens, decoding, .. } = options;
    let is_set = template.is_some() || max_new_tokens.is_some() || decoding.is_some();
    if config.span_head && is_set {
        return refuse(
            folder,
            "the model reads entities with a span head; it has no prompt and its answers are not \
             decoded: leave out template, decoding and max_new_tokens"
                .to_owned(),
        );
    }
    Ok(())
}

/// The weights of the model in a folder; `None` if its adapter does not identify its base.
fn weights_of(
    folder: &Path,
    model: &Llama,
    form: Option<BaseFormat>,
) -> Result<Option<WeightsOf>, InferError> {
    let Base { fingerprint, form: own, .. } = match &model.adapter {
        Some(adapter) => adapter.base.clone(),
        None => Base::of(folder)?,
    };
    Ok(fingerprint.map(|fingerprint| WeightsOf { fingerprint, form: own.or(form) }))
}

/// The entity types that the model in a folder was trained on, from frequent to rare; none if the
/// folder does not say.
///
/// # Errors
/// When the file cannot be read.
pub fn trained_types(folder: &Path) -> std::io::Result<Vec<String>> {
    let file = folder.join(TYPES);
    if !file.exists() {
        return Ok(Vec::new());
    }
    Ok(regular::read_to_string(&file)?.lines().map(str::to_owned).collect())
}

fn own<T>(part: T) -> Part<'static, T> {
    Part::Owned(Box::new(part))
}

pub(crate) fn refuse<T>(folder: &Path, problem: String) -> Result<T, InferError> {
    Err(InferError::Folder { folder: folder.to_owned(), problem })
}

/// Refuses a tokenizer with more tokens than the embedding has rows; warns if the two disagree.
fn compare(tokenizer: &Tokenizer, config: &LlamaConfig, folder: &Path) -> Result<(), InferError> {
    let (tokens, rows) = (tokenizer.vocab_size(), config.vocab_size);
    if tokens > rows {
        return refuse(
            folder,
            format!(
                "the tokenizer has {tokens} tokens, but the model's embedding has {rows} rows \
                 (`vocab_size`): it is not the model's tokenizer"
            ),
        );
    }
    if tokens < rows {
        tracing::info!(
            "{} rows of the embedding have no token: an answer ends if the model chooses one",
            rows - tokens
        );
    }
    let (end, ends) = (tokenizer.eos(), &config.eos_token_id);
    if !ends.is_empty() && !ends.contains(&end) {
        tracing::warn!(
            "the tokenizer ends a sequence with token {end}, the model's files with {ends:?} \
             (`eos_token_id`): answers end at each of them"
        );
    }
    Ok(())
}

fn template(folder: &Path, named: Option<&str>) -> Result<Template, InferError> {
    let file = folder.join(TEMPLATE);
    match named {
        Some(name) => Ok(Template::load(name)?.with_chat_of(folder)?),
        None if file.exists() => {
            Ok(Template::parse(&regular::read_to_string(&file)?, &file.display().to_string())?)
        }
        None => refuse(
            folder,
            format!(
                "it has no `{TEMPLATE}`; name the template the model was trained with by \
                 `--template` (`official` for the models released with UniversalNER)"
            ),
        ),
    }
}

/// How answers are generated: as the folder says, else the default, limited to the model's window.
fn infer_config(
    folder: &Path,
    config: &LlamaConfig,
    max_new_tokens: Option<usize>,
) -> Result<InferConfig, InferError> {
    let file = folder.join(INFER);
    let (window, key) = config.context_limit();
    let mut infer = if file.exists() {
        let read = toml::from_str(&regular::read_to_string(&file)?);
        read.or_else(|error: toml::de::Error| {
            refuse(folder, format!("`{INFER}`: {}", error.to_string().trim_end()))
        })?
    } else {
        InferConfig {
            max_new_tokens: InferConfig::default().max_new_tokens.min(window.saturating_sub(1)),
            ..InferConfig::default()
        }
    };
    infer.max_new_tokens = max_new_tokens.unwrap_or(infer.max_new_tokens);
    if !(1..window).contains(&infer.max_new_tokens) {
        let source = match max_new_tokens {
            Some(_) => "`--max-new-tokens`".to_owned(),
            None => format!("`max_new_tokens` of `{}`", file.display()),
        };
        return refuse(
            folder,
            format!(
                "an answer of {} tokens: {source} must be at least 1, and less than the model was \
                 made for, {window} (`{key}`)",
                infer.max_new_tokens
            ),
        );
    }
    Ok(infer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_earlier_versions_are_read() {
        let read = |text: &str| toml::from_str::<InferConfig>(text);
        let new = read("max_new_tokens = 5\nqueries_per_batch = 3").unwrap();
        assert_eq!(read("max_new_tokens = 5\nbatch_size = 3").unwrap(), new);
        assert!(read("queries_per_batch = 3\nbatch_size = 3").is_err(), "one of two counts");
    }
}
