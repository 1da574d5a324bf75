//! The base model and the adapter of a recipe.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use uner_model::adapter::{Adapter, Base, attach};
use uner_model::{Llama, load_frozen};
use uner_plan::Sources;

/// The folder of the base model, if the recipe trains an adapter.
pub(crate) fn base(sources: &Sources) -> Option<&Path> {
    sources.recipe.model.adapter.as_ref().and(sources.model.folder.as_deref())
}

/// Reads the model that training starts from, quantised as the recipe says (`model.base`).
pub(crate) fn load_base(sources: &Sources, folder: &Path, device: &Device) -> Result<Llama> {
    uner_model::folder::verify(folder)?;
    Ok(load_frozen(folder, sources.recipe.model.base, device)?.1)
}

/// Attaches the recipe's adapter to the model, if it has one.
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
