//! Finds and reads the folder of a trained model.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use uner_infer::{LoadOptions, Predictor};
use uner_trainer::checkpoint;

use crate::args::ModelArgs;
use crate::model::adapter;
use uner_plan::hub::{self, Accepted};
use uner_plan::recipe::RecipeError;

/// Reads the model that a command names.
pub(crate) fn load(args: &ModelArgs) -> Result<Predictor<'static>> {
    let (folder, base) = find(&args.model, args.base.as_deref(), &args.accept_licence)?;
    let options = LoadOptions {
        base,
        template: args.template.clone(),
        max_new_tokens: args.max_new_tokens,
        decoding: args.decoding,
    };
    Ok(Predictor::load_with(&folder, &args.device.open()?, &options)?)
}

/// The folders of a model and its base, which may be on the hub. Refuses a base for a model that is
/// not an adapter.
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

/// Replaces a run's folder by its best checkpoint if it has one, else by its latest.
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

/// The checkpoint that `latest` of a run names, or the newest intact one if that is missing or
/// damaged.
pub(crate) fn newest(folder: &Path) -> Result<PathBuf> {
    let named = checkpoint::latest(folder).and_then(|found| {
        found.as_deref().map_or(Ok(()), uner_model::folder::verify)?;
        Ok(found)
    });
    let problem = match named {
        Ok(Some(found)) => return Ok(found),
        Ok(None) => format!("`{}` is missing", folder.join("latest").display()),
        Err(problem) => problem.to_string(),
    };
    let all = checkpoint::all(folder)?;
    if all.is_empty() {
        return Err(RecipeError::NothingToResume(folder.to_owned()).into());
    }
    let whole = all.iter().rev().find(|path| uner_model::folder::verify(path).is_ok());
    let found = whole
        .with_context(|| format!("{problem}; no checkpoint of `{}` is intact", folder.display()))?;
    tracing::warn!("{problem}; using `{}`, the newest intact checkpoint", found.display());
    Ok(found.clone())
}
