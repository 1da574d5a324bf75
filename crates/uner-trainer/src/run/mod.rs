//! The training loop.

mod evaluation;
mod profile;
mod saving;
mod step;

pub use evaluation::{Callbacks, Interrupted, Scoring};
pub use profile::{Profile, profile};

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use uner_model::LlamaConfig;

use crate::checkpoint::{self, FORMAT_VERSION, State};
use crate::config::{Layout, TrainConfig};
use crate::data::loader::{Loader, StepData};
use crate::data::store::TokenStore;
use crate::distributed::Group;
use crate::error::TrainError;
use crate::metrics::event::Event;
use crate::state::{RunId, TrainState};
use crate::step::rank_model::RankModel;
use crate::step::trainable::Trainable;
use evaluation::{Evaluated, evaluate};
use saving::CheckpointSchedule;
use step::{StepReport, emit, step};

/// Steps that are packed ahead of the current one.
const PREFETCHED_STEPS: usize = 2;

/// The inputs of a training run.
#[derive(Debug)]
pub struct Run<'a, T: Trainable = RankModel> {
    /// How to train.
    pub config: &'a TrainConfig,
    /// The model's dimensions.
    pub model_config: &'a T::Config,
    /// Seed of every order, and of dropout.
    pub seed: u64,
    /// The training data.
    pub store: &'a TokenStore,
    /// The validation data, for the validation loss.
    pub validation: Option<&'a TokenStore>,
    /// How a step is laid out.
    pub layout: Layout,
    /// The run's folder, which exists.
    pub folder: &'a Path,
    /// Files that are copied into every checkpoint.
    pub extra_files: &'a [PathBuf],
    /// Functions of the program that the loop calls.
    pub callbacks: Callbacks<'a, T::Model>,
    /// Whether every step is computed twice and compared bitwise. This doubles the time, and the
    /// memory of the gradients.
    pub check_determinism: bool,
    /// This rank among all.
    pub group: &'a Group,
}

impl<T: Trainable> Clone for Run<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Trainable> Copy for Run<'_, T> {}

impl<'a> Run<'a> {
    /// As [`Run::of`], for a language model.
    pub fn new(
        configs: (&'a TrainConfig, &'a LlamaConfig),
        store: &'a TokenStore,
        folder: &'a Path,
        group: &'a Group,
    ) -> Self {
        Self::of(configs, store, folder, group)
    }
}

impl<'a, T: Trainable> Run<'a, T> {
    /// A run with seed 0 and the default [`Layout`], without validation, extra files or callbacks.
    pub fn of(
        (config, model_config): (&'a TrainConfig, &'a T::Config),
        store: &'a TokenStore,
        folder: &'a Path,
        group: &'a Group,
    ) -> Self {
        Self {
            config,
            model_config,
            seed: 0,
            store,
            validation: None,
            layout: Layout::default(),
            folder,
            extra_files: &[],
            callbacks: Callbacks::default(),
            check_determinism: false,
            group,
        }
    }

    /// The loader of the run's steps.
    pub(crate) fn loader(&self) -> Loader<'a> {
        Loader::new(self.store, self.config, self.layout.micro_batch_rows, self.seed)
    }

    /// Whether a resumed run still has steps or evaluations to compute.
    pub fn is_unfinished(&self, state: &TrainState<T>) -> bool {
        let is_over =
            state.step >= self.total_steps() || state.best_tracker.should_stop(self.config.best);
        !is_over || state.best_tracker.evaluation_pending
    }

    /// Steps from the start of the run to its end.
    pub fn total_steps(&self) -> u64 {
        self.config.total_steps(self.store.len())
    }

    /// The content of `state.json` for a checkpoint of `state`.
    pub fn checkpoint_state(&self, state: &TrainState<T>) -> State {
        State {
            format_version: FORMAT_VERSION,
            run: state.run.clone(),
            step: state.step,
            seed: self.seed,
            data_fingerprint: self.store.summary().fingerprint,
            best_tracker: state.best_tracker,
            guard: state.guard.clone(),
            precision: self.config.precision.unwrap_or_default(),
        }
    }
}

/// Receives every event. It returns `Break` to make the run save and return early.
pub type OnEvent<'a> = dyn FnMut(&Event) -> Result<ControlFlow<()>, TrainError> + 'a;

/// Trains from `state` to the last step, or until the patience is exhausted (early stopping), and
/// passes every event to `on_event`. If that returns `Break` on any rank, all ranks save and return
/// early. All checkpoints are on disk when this returns.
///
/// The runs of all ranks are the same except for their `group`. Rank 0 writes the checkpoints.
///
/// # Errors
/// When a guard stops the run (the step is not applied), two computations of a step differ, another
/// rank has failed, or a checkpoint cannot be written.
pub fn train<T: Trainable>(
    run: &Run<T>,
    mut state: TrainState<T>,
    on_event: &mut OnEvent,
) -> Result<TrainState<T>, TrainError> {
    state.run.get_or_insert_with(|| RunId::new(run.folder));
    if run.group.is_main() {
        checkpoint::sweep(run.folder)?;
        checkpoint::point_best(run.folder, state.best_tracker.best.map(|best| best.step))?;
    }
    // Releases memory that was needed to read the model and to build the optimizer's state.
    state.model.device().memory_cleanup();
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(PREFETCHED_STEPS);
        let loader = run.loader();
        let ahead = state.step..run.total_steps();
        // The thread ends when the receiver is dropped, however this closure returns.
        scope.spawn(move || {
            ahead.map(|step| loader.step(step)).try_for_each(|data| send.send(data))
        });

        let mut saves = CheckpointSchedule::new(run);
        let trained = steps(run, state, &receive, &mut saves, on_event);
        // Waits even after an error: the checkpoint that is being written is complete.
        let written = saves.finish(on_event);
        let state = trained?;
        written?;
        Ok(state)
    })
}

/// Runs the evaluations that an interrupt prevented after the last step, then all further steps.
fn steps<T: Trainable>(
    run: &Run<T>,
    mut state: TrainState<T>,
    receive: &Receiver<StepData>,
    saves: &mut CheckpointSchedule<T>,
    on_event: &mut OnEvent,
) -> Result<TrainState<T>, TrainError> {
    let total = run.total_steps();
    let flops = state.model.flops(run.model_config);
    let mut stop = state.best_tracker.should_stop(run.config.best);
    if state.best_tracker.evaluation_pending {
        stop = after_step(run, &mut state, false, saves, on_event)?;
    }
    while state.step < total && !stop {
        let mut step_report;
        (state, step_report) = step(run, state, receive, &flops)?;
        step_report.metrics.breakdown.save = saves.blocked_seconds();
        let stop_requested =
            run.group.any([emit_or_save(step_report, &state, saves, on_event)?])? == [true];
        stop = after_step(run, &mut state, stop_requested, saves, on_event)?;
    }
    Ok(state)
}

/// Calls [`emit`]. If `on_event` fails or panics on a single rank, saves the step before passing on
/// the failure, so that the model is not lost. With several ranks it does not save: saving is
/// collective, and the other ranks do not know of the failure.
fn emit_or_save<T: Trainable>(
    step_report: StepReport,
    state: &TrainState<T>,
    saves: &mut CheckpointSchedule<T>,
    on_event: &mut OnEvent,
) -> Result<bool, TrainError> {
    let outcome = catch_unwind(AssertUnwindSafe(|| emit(step_report, on_event)));
    if !matches!(outcome, Ok(Ok(_) | Err(TrainError::Guarded(_)))) && saves.is_single() {
        let mut silent = |_: &Event| Ok(ControlFlow::Continue(()));
        // The first failure is reported, not one of this save.
        let _ = saves.save(state, &mut silent).and_then(|()| saves.finish(&mut silent));
    }
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Computes the evaluations and writes the checkpoint that are due after a step. Returns whether
/// the run ends here.
fn after_step<T: Trainable>(
    run: &Run<T>,
    state: &mut TrainState<T>,
    stop_requested: bool,
    saves: &mut CheckpointSchedule<T>,
    on_event: &mut OnEvent,
) -> Result<bool, TrainError> {
    let Evaluated { better, mut stop } = evaluate(run, state, stop_requested, on_event)?;
    let TrainState { step, best_tracker, .. } = *state;
    if best_tracker.should_stop(run.config.best) {
        // The run ends here, whatever the callback returns.
        let _ =
            on_event(&Event::Stopped { step, best_step: best_tracker.best.map(|best| best.step) })?;
        stop = true;
    }
    stop |= saves.emit(on_event)?;
    let [stop, due] = run.group.any([stop, better || saves.due(step)])?;
    if stop || due {
        saves.save(state, on_event)?;
    }
    Ok(stop)
}
