//! `uner export`: a trained model as a folder, or a file, that other programs read.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use safetensors::Dtype;
use serde_json::Value;
use uner_data::regular;
use uner_model::adapter::{CONFIG_FILE, base_format_of, base_of};
use uner_model::export::{self, Export};
use uner_model::weights::{self, inside};
use uner_prompt::{Template, Tokenizer};

use crate::args::ExportArgs;
use crate::model::gguf;
use crate::model::model_folder::find;
use crate::run::lock::refuse_held;
use crate::run::run_folder::{INFER, TEMPLATE};
use uner_model::atomic;
use uner_prompt::tokenizer_in;

/// Files that are copied along with a model, if they exist.
const COMPANIONS: [&str; 8] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    CHAT_TEMPLATE,
    TEMPLATE,
    INFER,
];

const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// The prompt format, for people.
const PROMPT_FORMAT: &str = "PROMPT.md";

pub(crate) fn run(args: &ExportArgs) -> Result<()> {
    refuse_held(&args.model)?;
    let (folder, named) = find(&args.model, args.base.as_deref(), &args.accept_licence)?;
    let is_adapter = folder.join(CONFIG_FILE).exists();
    if args.merge && !is_adapter {
        bail!(
            "`{}` is not an adapter, so there is nothing to merge; leave out `--merge`",
            folder.display()
        );
    }
    uner_model::folder::verify(&folder)?;
    let base = match (named, is_adapter) {
        (Some(base), _) => Some(base),
        (None, true) if args.merge => base_of(&folder)?,
        (None, true) => base_of(&folder).ok().flatten(),
        (None, false) => None,
    };
    if args.merge && base_format_of(&folder)?.is_some() {
        tracing::warn!(
            "the adapter was trained on a quantised base and is merged into the unquantised weights: outputs differ by the quantisation error"
        );
    }
    if args.merge {
        warn_of_rounding(args, base.as_deref().unwrap_or(&folder))?;
    }
    match (&args.gguf, &args.output) {
        (Some(file), _) => to_file(args, &folder, base.as_deref(), file),
        (None, Some(output)) => to_folder(args, &folder, base.as_deref(), output),
        (None, None) => bail!("name what to write: `--output DIR`, or `--gguf OUT.gguf`"),
    }
}

/// Warns if merging rounds weights: it writes them as `--dtype`, or in the type of the base.
fn warn_of_rounding(args: &ExportArgs, base: &Path) -> Result<()> {
    let dtype = match args.dtype {
        Some(dtype) => dtype,
        None => weights::dtype_of(&weights::read_config(base)?, &base.join("config.json"))?,
    };
    if dtype != Dtype::F32 {
        tracing::warn!(
            "the merged weights are rounded to {dtype:?}: logits may differ by tenths from those of the adapter on its base; `--dtype f32` \
             keeps them, in twice the bytes"
        );
    }
    Ok(())
}

fn refuse_existing(output: &Path, what: &str) -> Result<()> {
    ensure!(!output.exists(), "`{}` exists; name a {what} that does not", output.display());
    Ok(())
}

fn to_file(args: &ExportArgs, folder: &Path, base: Option<&Path>, file: &Path) -> Result<()> {
    refuse_existing(file, "file")?;
    let adapter = folder.join(CONFIG_FILE).exists();
    ensure!(
        !adapter || args.merge,
        "`{}` is an adapter, and a GGUF file holds a whole model; add `--merge`",
        folder.display()
    );
    // An adapter of another program may have no tokenizer of its own.
    let places = [Some(folder), base].into_iter().flatten();
    let tokenizer =
        places.map(tokenizer_in).find(|file| file.exists()).unwrap_or_else(|| tokenizer_in(folder));
    let tokenizer = Tokenizer::from_file(&tokenizer)?;
    let chat_template = match template_of(folder)? {
        Some(template) => chat_template(&template, &tokenizer)?,
        None => None,
    };
    let vocabulary = gguf::vocabulary(&tokenizer, chat_template)?;
    atomic::replace::<anyhow::Error>(file, |unfinished| {
        Ok(uner_model::gguf::write(&source(args, folder, base), &vocabulary, unfinished)?)
    })?;
    tracing::info!("wrote `{}`", file.display());
    Ok(())
}

fn to_folder(args: &ExportArgs, folder: &Path, base: Option<&Path>, output: &Path) -> Result<()> {
    refuse_existing(output, "folder")?;
    let unfinished = unfinished(output)?;
    let written = write(args, folder, base, &unfinished);
    if let Err(error) = written {
        // Only the first error is reported. The next attempt removes files that are left.
        let _ = fs_err::remove_dir_all(&unfinished);
        return Err(error);
    }
    fs_err::rename(&unfinished, output)?;
    tracing::info!("wrote `{}`", output.display());
    Ok(())
}

/// The model that is exported, and the adapter that is merged into it.
fn source<'a>(args: &ExportArgs, folder: &'a Path, base: Option<&'a Path>) -> Export<'a> {
    let adapter = folder.join(CONFIG_FILE).exists();
    let (model, adapter) =
        if adapter { (base.unwrap_or(folder), Some(folder)) } else { (folder, None) };
    Export { model, adapter, dtype: args.dtype, max_shard_bytes: args.max_shard_size }
}

/// Creates the empty folder that is written to, and renamed once it is complete.
fn unfinished(output: &Path) -> Result<PathBuf> {
    let mut name = output.file_name().context("`--output` does not name a folder")?.to_owned();
    name.push(".tmp");
    let folder = output.with_file_name(name);
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}

fn write(args: &ExportArgs, folder: &Path, base: Option<&Path>, output: &Path) -> Result<()> {
    let adapter = folder.join(CONFIG_FILE).exists();
    if adapter && !args.merge {
        export::adapter(folder, args.dtype, output)?;
    } else {
        export::model(&source(args, folder, base), output)?;
    }
    // An adapter of another program may have no tokenizer of its own.
    for place in [Some(folder), base].into_iter().flatten() {
        for name in COMPANIONS {
            let to = output.join(name);
            if place.join(name).exists() && !to.exists() {
                fs_err::copy(inside(place, name)?, to)?;
            }
        }
    }
    if let Some(template) = template_of(output)? {
        write_prompt_format(&template, output)?;
    }
    Ok(uner_model::folder::write_sums(output)?)
}

/// The template that the model in a folder was trained with, if it is known.
fn template_of(folder: &Path) -> Result<Option<Template>> {
    let file = folder.join(TEMPLATE);
    if !file.exists() {
        return Ok(None);
    }
    Ok(Some(Template::parse(&regular::read_to_string(&file)?, &file.display().to_string())?))
}

/// The chat template for other programs. Warns if there is none.
fn chat_template(template: &Template, tokenizer: &Tokenizer) -> Result<Option<String>> {
    let found = template.as_chat_template(tokenizer)?;
    if found.is_none() {
        tracing::warn!(
            "no chat template is written: with this tokenizer, prompts of other programs by the template `{}` would not have the tokens \
             that the model was trained on",
            template.name
        );
    }
    Ok(found)
}

/// Writes the prompt format for people and the chat template for other programs. The chat template
/// is written twice, since not every program reads its own file. Without one, the base's
/// template is removed: its prompts would differ from training.
fn write_prompt_format(template: &Template, output: &Path) -> Result<()> {
    let tokenizer = Tokenizer::from_file(&tokenizer_in(output))?;
    let chat_template = chat_template(template, &tokenizer)?;
    let (file, config) = (output.join(CHAT_TEMPLATE), output.join("tokenizer_config.json"));
    if config.exists() {
        let mut keys: serde_json::Map<String, Value> =
            serde_json::from_slice(&fs_err::read(&config)?)
                .with_context(|| format!("`{}`", config.display()))?;
        keys.remove("chat_template");
        keys.extend(
            chat_template.iter().map(|text| ("chat_template".to_owned(), text.clone().into())),
        );
        fs_err::write(&config, serde_json::to_string_pretty(&keys)?)?;
    }
    match chat_template {
        Some(text) => {
            fs_err::write(output.join(PROMPT_FORMAT), template.prompt_format())?;
            fs_err::write(file, text)?;
        }
        None if file.exists() => fs_err::remove_file(file)?,
        None => {}
    }
    Ok(())
}
