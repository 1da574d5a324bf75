//! A trained model in a folder, with all that is needed to ask it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use uner_data::regular;
use uner_infer::{Generator, InferConfig, Predictor};
use uner_model::{Llama, LlamaConfig};
use uner_prompt::{Template, Tokenizer};
use uner_trainer::checkpoint;

use crate::adapter;
use crate::args::ModelArgs;
use crate::run_folder::{INFER, TEMPLATE, newest, tokenizer};
use uner_plan::hub::{self, Accepted};

/// Longest answer where the folder says nothing: what the released evaluation allows.
const MAX_NEW_TOKENS: usize = 256;
/// Queries decoded together where the folder says nothing.
const BATCH_SIZE: usize = 32;

/// A model ready to be asked.
#[derive(Debug)]
pub(crate) struct Asked {
    config: LlamaConfig,
    model: Llama,
    tokenizer: Tokenizer,
    template: Template,
    infer: InferConfig,
}

impl Asked {
    pub(crate) fn load(args: &ModelArgs) -> Result<Self> {
        let (folder, base) = find(&args.model, args.base.as_deref(), &args.accept_licence)?;
        let (config, model) =
            checkpoint::load_model_onto(&folder, base.as_deref(), &args.device.open()?)?;
        let mut infer = infer_config(&folder, config.max_position_embeddings)?;
        infer.max_new_tokens = args.max_new_tokens.unwrap_or(infer.max_new_tokens);
        let window = config.max_position_embeddings;
        ensure!(
            (1..window).contains(&infer.max_new_tokens),
            "an answer of {} tokens: {} must be at least 1, and less than the model was made for, {window} (`max_position_embeddings`)",
            infer.max_new_tokens,
            if args.max_new_tokens.is_some() {
                "`--max-new-tokens`".to_owned()
            } else {
                format!("`max_new_tokens` of `{}`", folder.join(INFER).display())
            }
        );
        let (template, tokenizer) =
            (template(&folder, args.template.as_deref())?, tokenizer(&folder)?);
        compare(&tokenizer, &config).with_context(|| format!("`{}`", folder.display()))?;
        Ok(Self { config, model, tokenizer, template, infer })
    }

    pub(crate) fn predictor(&self) -> Result<Predictor<'_>> {
        let generator = Generator { model: &self.model, config: &self.config };
        Ok(Predictor::new(generator, &self.tokenizer, &self.template, self.infer)?)
    }
}

/// The folders of a model and its base, wherever they are named to be; `--base` says something only
/// where there is an adapter.
pub(crate) fn find(
    model: &Path,
    base: Option<&Path>,
    accepted: &[Accepted],
) -> Result<(PathBuf, Option<PathBuf>)> {
    let folder = resolve(&hub::folder(model, accepted)?)?;
    adapter::refuse_needless_base(&folder, base)?;
    let base = base.map(|base| hub::folder(base, accepted)).transpose()?;
    Ok((folder, base))
}

/// A run's folder stands for its best checkpoint where it keeps one, else for its latest.
pub(crate) fn resolve(folder: &Path) -> Result<PathBuf> {
    if !folder.is_dir() {
        bail!(
            "`{}` is not a folder; `--model` takes a checkpoint, a Hugging Face folder, or `hf:org/name`",
            folder.display()
        );
    }
    match checkpoint::best(folder)? {
        Some(best) => Ok(best),
        None if checkpoint::all(folder)?.is_empty() => Ok(folder.to_owned()),
        None => newest(folder),
    }
}

/// Refuses a tokenizer with more tokens than the model has rows for, and says where the two do not
/// agree.
fn compare(tokenizer: &Tokenizer, config: &LlamaConfig) -> Result<()> {
    let (tokens, rows) = (tokenizer.vocab_size(), config.vocab_size);
    ensure!(
        tokens <= rows,
        "the tokenizer has {tokens} tokens, and the model's embedding {rows} rows (`vocab_size`): it is not the model's tokenizer"
    );
    if tokens < rows {
        tracing::info!(
            "{} rows of the embedding have no token: an answer ends where the model finds one",
            rows - tokens
        );
    }
    let (end, ends) = (tokenizer.eos(), &config.eos_token_id);
    if !ends.is_empty() && !ends.contains(&end) {
        tracing::warn!(
            "the tokenizer ends a sequence with token {end}, and the model's files with {ends:?} (`eos_token_id`): answers end at each of them"
        );
    }
    Ok(())
}

fn template(folder: &Path, named: Option<&str>) -> Result<Template> {
    let file = folder.join(TEMPLATE);
    match named {
        Some(name) => Ok(Template::load(name)?.with_chat_of(folder)?),
        None if file.exists() => {
            Ok(Template::parse(&regular::read_to_string(&file)?, &file.display().to_string())?)
        }
        None => bail!(
            "`{}` has no `{TEMPLATE}`; name the template the model was trained with by `--template` (`official` for the \
             models released with UniversalNER)",
            folder.display()
        ),
    }
}

/// How answers are generated: as the model's files say, or for other models up to what fits their
/// window.
fn infer_config(folder: &Path, window: usize) -> Result<InferConfig> {
    let file = folder.join(INFER);
    if !file.exists() {
        return Ok(InferConfig {
            max_new_tokens: MAX_NEW_TOKENS.min(window.saturating_sub(1)),
            queries_per_batch: BATCH_SIZE,
        });
    }
    toml::from_str(&regular::read_to_string(&file)?)
        .with_context(|| format!("`{}`", file.display()))
}
