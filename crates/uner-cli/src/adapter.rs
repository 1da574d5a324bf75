//! What recipes and commands do with adapters.

use std::path::Path;

use anyhow::{Result, bail};
use burn::tensor::Device;
use uner_model::adapter::{Adapter, Base, CONFIG_FILE, attach};
use uner_model::{Llama, load_frozen};
use uner_trainer::checkpoint;

use uner_plan::Plan;
use uner_plan::lookup::adapter::described;

/// `--base` says something only where there is an adapter.
pub(crate) fn refuse_needless_base(folder: &Path, base: Option<&Path>) -> Result<()> {
    if base.is_some() && !folder.join(CONFIG_FILE).exists() {
        bail!("`{}` is no adapter, so there is nothing for `--base` to name", folder.display());
    }
    Ok(())
}

/// The folder of the model that is adapted.
pub(crate) fn base(plan: &Plan) -> Option<&Path> {
    plan.recipe.model.adapter.as_ref().and(plan.model.folder.as_deref())
}

/// The model that training starts from, in the bits of the plan.
pub(crate) fn load_base(plan: &Plan, folder: &Path, device: &Device) -> Result<Llama> {
    checkpoint::verify(folder)?;
    Ok(load_frozen(folder, plan.recipe.model.base, device)?.1)
}

/// The model with the adapter of the plan, or as it is.
pub(crate) fn attached(model: Llama, plan: &Plan) -> Result<Llama> {
    match (&plan.recipe.model.adapter, base(plan)) {
        (Some(config), Some(folder)) => {
            let base = Base { form: plan.recipe.model.base, ..Base::of(folder)? };
            let adapter = Adapter { config: config.clone(), base };
            Ok(attach(model, adapter, plan.recipe.run.seed))
        }
        _ => Ok(model),
    }
}

/// Refuses to go on with another adapter than that of the checkpoint at `path`.
pub(crate) fn check_resumable(model: &Llama, plan: &Plan, path: &Path) -> Result<()> {
    let then = model.adapter.as_ref().map(|adapter| (&adapter.config, adapter.base.form));
    let now = plan.recipe.model.adapter.as_ref().map(|config| (config, plan.recipe.model.base));
    if then == now {
        return Ok(());
    }
    bail!(
        "checkpoint `{}`: `model.adapter` was {} and is now {}; set it back, or start a new run",
        path.display(),
        described(then),
        described(now)
    )
}
