//! What recipes and commands do with adapters.

use std::path::Path;

use anyhow::{Result, bail};
use burn::tensor::Device;
use uner_model::adapter::{Adapter, Base, CONFIG_FILE, attach};
use uner_model::{Llama, load_frozen};

use uner_plan::Sources;

/// `--base` says something only where there is an adapter.
pub(crate) fn refuse_needless_base(folder: &Path, base: Option<&Path>) -> Result<()> {
    if base.is_some() && !folder.join(CONFIG_FILE).exists() {
        bail!("`{}` is no adapter, so there is nothing for `--base` to name", folder.display());
    }
    Ok(())
}

/// The folder of the model that is adapted.
pub(crate) fn base(sources: &Sources) -> Option<&Path> {
    sources.recipe.model.adapter.as_ref().and(sources.model.folder.as_deref())
}

/// The model that training starts from, in the bits of the plan.
pub(crate) fn load_base(sources: &Sources, folder: &Path, device: &Device) -> Result<Llama> {
    uner_model::folder::verify(folder)?;
    Ok(load_frozen(folder, sources.recipe.model.base, device)?.1)
}

/// The model with the adapter of the plan, or as it is.
pub(crate) fn attached(model: Llama, sources: &Sources) -> Result<Llama> {
    match (&sources.recipe.model.adapter, base(sources)) {
        (Some(config), Some(folder)) => {
            let base = Base { form: sources.recipe.model.base, ..Base::of(folder)? };
            let adapter = Adapter { config: config.clone(), base };
            Ok(attach(model, adapter, sources.recipe.run.seed))
        }
        _ => Ok(model),
    }
}
