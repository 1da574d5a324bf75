//! Finds and reads the model that a command names.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use uner_infer::{LoadOptions, Predictor};
use uner_model::adapter::CONFIG_FILE;
use uner_plan::hub::{self, Accepted};
use uner_run::folder::resolve;
use uner_run::model::OpenModel;

use crate::args::ModelArgs;

/// Reads the language model that a command names.
pub(crate) fn load(model: &Path, args: &ModelArgs) -> Result<Predictor<'static>> {
    match open(model, args)? {
        OpenModel::Language(predictor) => Ok(*predictor),
        OpenModel::Tagger(_) => bail!(
            "`{}` is a token classifier, which finds the types that it was trained on; `uner eval` \
             measures it",
            model.display()
        ),
    }
}

/// Reads the model that a command names.
pub(crate) fn open(model: &Path, args: &ModelArgs) -> Result<OpenModel> {
    let (folder, base) = find(model, args.base.as_deref(), &args.accept_licence)?;
    let options = LoadOptions {
        base,
        template: args.template.clone(),
        max_new_tokens: args.max_new_tokens,
        queries_per_batch: args.queries_per_batch.map(NonZeroUsize::get),
        decoding: args.decoding,
        int8: args.int8,
    };
    OpenModel::load(&folder, &args.device.open()?, &options)
}

/// The folders of a model and its base, which may be on the hub. Refuses a base for a model that is
/// not an adapter.
pub(crate) fn find(
    model: &Path,
    base: Option<&Path>,
    accepted: &[Accepted],
) -> Result<(PathBuf, Option<PathBuf>)> {
    let folder = resolve(&hub::folder(model, accepted)?)?;
    refuse_needless_base(&folder, base)?;
    let base = base.map(|base| hub::folder(base, accepted)).transpose()?;
    Ok((folder, base))
}

/// Refuses `--base` for a model that is not an adapter.
fn refuse_needless_base(folder: &Path, base: Option<&Path>) -> Result<()> {
    if base.is_some() && !folder.join(CONFIG_FILE).exists() {
        bail!("`{}` is not an adapter, so it has no base; leave out `--base`", folder.display());
    }
    Ok(())
}
