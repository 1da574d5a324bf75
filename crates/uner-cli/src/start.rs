//! The state that a run starts from: new, or of a checkpoint.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use uner_model::weights::random;
use uner_plan::Plan;
use uner_plan::recipe::Override;
use uner_trainer::{Policy, Progress, Run, checkpoint};

use crate::{adapter, run_folder};

/// A checkpoint to go on from, and what the command line set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed<'a> {
    pub(crate) path: &'a Path,
    pub(crate) set: &'a [Override],
}

/// The model at the start of the run, or where it was left.
pub(crate) fn begin(
    plan: &Plan,
    run: &Run,
    resumed: Option<Resumed>,
    device: &Device,
) -> Result<Progress> {
    if let Some(Resumed { path, set }) = resumed {
        let found = checkpoint::load_onto(path, adapter::base(plan), run.group, device)?;
        let state = found.state.clone();
        adapter::check_resumable(&found.model, plan, path)?;
        run_folder::check_dimensions(&found.config, run.model_config, path)?;
        run_folder::check_recipe(plan, |key| set.iter().any(|override_| override_.sets(key)))?;
        let progress = Progress::from(found);
        let is_set = |key: &str| set.iter().any(|override_| override_.sets(key));
        let longer = state.check_resumable(&run.state(&progress), run.store.len(), is_set, path)?;
        if run.group.is_first() {
            tracing::info!("resuming after step {}", progress.step);
            if let Some(longer) = longer {
                tracing::warn!("{longer}");
            }
        }
        return Ok(progress);
    }
    let policy = Policy::new(run.config.precision, device)?;
    let model = match &plan.model.folder {
        Some(folder) => adapter::load_base(plan, folder, device)?,
        None => random(run.model_config, run.seed, device),
    };
    Ok(Progress::with(adapter::attached(model, plan)?, policy, run.group))
}
