//! What a run starts from: its machine, its plan, and its state, new or of a checkpoint.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use burn::tensor::Device;
use uner_model::weights::random;
use uner_plan::assemble::{assemble, scratch};
use uner_plan::machine::{Machine, MemorySource, Ranks};
use uner_plan::plan::DataSize;
use uner_plan::recipe::Override;
use uner_plan::{Plan, Sources};
use uner_trainer::{Precision, Run, Sharding, TrainState, checkpoint};

use crate::adapter;

/// Describes this machine and the devices of a run.
pub(crate) fn detect_machine(sources: &Sources, ranks: Ranks) -> Machine {
    let run = &sources.recipe.run;
    Machine::detect(&run.device, run.limit_gib(), &sources.model.config, ranks)
}

/// Plans a run of this process without starting it. Counts the data if it exists.
///
/// # Errors
/// When the data cannot be read.
pub fn dry_plan(sources: &Sources) -> Result<Plan> {
    let size = if sources.blocking().next().is_none() {
        let scratch = scratch()?;
        assemble(sources, scratch.path(), None)?.train.summary().into()
    } else {
        let expected = sources.recipe.data.expected_conversations;
        expected.map_or(DataSize::Unknown, |conversations| DataSize::Expected { conversations })
    };
    let machine = detect_machine(sources, Ranks::of_one_process(&sources.recipe.run.device));
    Ok(Plan::new(sources, size, machine, None))
}

/// Refuses a plan that does not fit the device. If the device's memory is only assumed, accepts it.
///
/// # Errors
/// Says what does not fit, and what would.
pub fn refuse_too_much(plan: &Plan) -> Result<()> {
    match plan.problem() {
        Some(problem) if plan.machine.memory.source != MemorySource::Assumed => bail!("{problem}"),
        _ => Ok(()),
    }
}

/// A checkpoint to resume from, its plan, and the keys that the command line sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed<'a> {
    pub(crate) path: &'a Path,
    pub(crate) then: &'a Plan,
    pub(crate) set: &'a [Override],
}

/// The state at the start of the run, or of its checkpoint, sharded as the plan says.
/// `added_tokens` are the ids of tokens that the model's files lack.
pub(crate) fn initial_state(
    (sources, plan): (&Sources, &Plan),
    run: &Run,
    added_tokens: &Range<usize>,
    resumed: Option<Resumed>,
    device: &Device,
) -> Result<TrainState> {
    let state = if let Some(resumed) = resumed {
        resume((sources, plan), run, resumed, device)?
    } else {
        let precision = Precision::new(run.config.precision, device)?;
        let model = match &sources.model.folder {
            Some(folder) => {
                let model = adapter::load_base(sources, folder, device)?;
                if added_tokens.is_empty() {
                    model
                } else {
                    model.with_tokens(added_tokens.clone())
                }
            }
            None => random(run.model_config, run.seed, device),
        };
        let model = if run.model_config.span_head {
            model.with_span_head(run.model_config, run.seed)
        } else {
            model
        };
        TrainState::with(adapter::attached(model, sources)?, precision, run.group)
    };
    Ok(match run.layout.sharding {
        Sharding::Zero3 => state.shard(run.model_config, run.group),
        Sharding::None | Sharding::Zero1 => state,
    })
}

fn resume(
    (sources, plan): (&Sources, &Plan),
    run: &Run,
    Resumed { path, then, set }: Resumed,
    device: &Device,
) -> Result<TrainState> {
    let found = checkpoint::load_onto(path, adapter::base(sources), run.group, device)?;
    let saved = found.state.clone();
    let state = TrainState::from(found);
    let is_set = |key: &str| set.iter().any(|override_| override_.sets(key));
    let warnings = plan
        .check_resumable(then, state.step, is_set)
        .map_err(|problem| anyhow!("checkpoint `{}`: {problem}", path.display()))?;
    saved.check_resumable(&run.checkpoint_state(&state), path)?;
    if run.group.is_main() {
        tracing::info!("resuming after step {}", state.step);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }
    Ok(state)
}
