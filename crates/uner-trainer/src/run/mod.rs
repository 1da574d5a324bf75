//! The training loop. It has no modes: what to do was decided before it starts.

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
use crate::state::{Progress, RunId};
use evaluation::{Evaluated, evaluate};
use saving::Saves;
use step::{Done, step, tell};
use uner_model::Flops;

/// Steps that are packed ahead of the one being trained.
const PREFETCHED_STEPS: usize = 2;

/// All a training run reads.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// How to train.
    pub config: &'a TrainConfig,
    /// The model's dimensions.
    pub model_config: &'a LlamaConfig,
    /// Seed of every order.
    pub seed: u64,
    /// What to train on.
    pub store: &'a TokenStore,
    /// What to compute the validation loss on.
    pub validation: Option<&'a TokenStore>,
    /// How a step is laid out.
    pub layout: Layout,
    /// The run's folder; it exists.
    pub folder: &'a Path,
    /// Files that every checkpoint gets a copy of.
    pub extra_files: &'a [PathBuf],
    /// What the loop asks of the program it runs in.
    pub callbacks: Callbacks<'a>,
    /// Whether every step is computed twice and compared to the bit: twice the time, and twice the
    /// gradients in memory.
    pub check_determinism: bool,
    /// This rank among all.
    pub group: &'a Group,
}

impl<'a> Run<'a> {
    /// A run with seed 0 and the default [`Layout`], without validation, extra files or callbacks.
    pub fn new(
        (config, model_config): (&'a TrainConfig, &'a LlamaConfig),
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

    /// The loader of its steps.
    pub(crate) fn loader(&self) -> Loader<'a> {
        Loader::new(self.store, self.config, self.layout.micro_batch_rows, self.seed)
    }

    /// Whether a run has stopped before its end, with something left to be done when it is resumed.
    pub fn is_unfinished(&self, progress: &Progress) -> bool {
        let is_over =
            progress.step >= self.total_steps() || progress.standing.is_exhausted(self.config.best);
        !is_over || progress.standing.cut_short
    }

    /// Steps from start to end.
    pub fn total_steps(&self) -> u64 {
        self.config.total_steps(self.store.len())
    }

    /// What a checkpoint at this point says of this run.
    pub fn state(&self, progress: &Progress) -> State {
        State {
            format_version: FORMAT_VERSION,
            run: progress.run.clone(),
            step: progress.step,
            seed: self.seed,
            data_fingerprint: self.store.summary().fingerprint,
            standing: progress.standing,
            guard: progress.guard.clone(),
            precision: self.config.precision.unwrap_or_default(),
        }
    }
}

/// What is told of every event. `Break` asks the run to save and return early.
pub type Listen<'a> = dyn FnMut(&Event) -> Result<ControlFlow<()>, TrainError> + 'a;

/// Trains from `progress` to the last step, or until the recipe's patience is at its end, telling
/// `listen` of every event. When it answers `Break`, on any rank, the run saves and returns early.
/// All checkpoints are on the disk when this returns.
///
/// Every rank trains with a run that differs in nothing but its group; the first one writes the
/// checkpoints.
///
/// # Errors
/// When a guard stops the run (the step is not applied), a step that is computed twice differs,
/// another rank has failed, or a checkpoint cannot be written.
pub fn train(
    run: &Run,
    mut progress: Progress,
    listen: &mut Listen,
) -> Result<Progress, TrainError> {
    progress.run.get_or_insert_with(|| RunId::new(run.folder));
    if run.group.is_first() {
        checkpoint::sweep(run.folder)?;
        checkpoint::point_best(run.folder, progress.standing.best.map(|best| best.step))?;
    }
    // What reading the model and building the optimizer's state left behind.
    progress.model.device().memory_cleanup();
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(PREFETCHED_STEPS);
        let loader = run.loader();
        let ahead = progress.step..run.total_steps();
        // Ends when the receiver is dropped, whichever way this closure is left.
        scope.spawn(move || {
            ahead.map(|step| loader.step(step)).try_for_each(|data| send.send(data))
        });

        let mut saves = Saves::new(run);
        let trained = steps(run, progress, &receive, &mut saves, listen);
        // What is being written is a whole checkpoint, whatever stopped the run.
        let written = saves.finish(listen);
        let progress = trained?;
        written?;
        Ok(progress)
    })
}

/// All steps from `progress` on, and what an interrupt left undone after the last one.
fn steps(
    run: &Run,
    mut progress: Progress,
    receive: &Receiver<StepData>,
    saves: &mut Saves,
    listen: &mut Listen,
) -> Result<Progress, TrainError> {
    let total = run.total_steps();
    let adapter = progress.model.held().adapter.as_ref().map(|adapter| &adapter.config);
    let flops = Flops::new(run.model_config, adapter);
    let mut stop = progress.standing.is_exhausted(run.config.best);
    if progress.standing.cut_short {
        stop = settle(run, &mut progress, false, saves, listen)?;
    }
    while progress.step < total && !stop {
        let mut done;
        (progress, done) = step(run, progress, receive, &flops)?;
        done.metrics.breakdown.save = saves.held_up();
        let asked = run.group.any([told(done, &progress, saves, listen)?])? == [true];
        stop = settle(run, &mut progress, asked, saves, listen)?;
    }
    Ok(progress)
}

/// [`tell`] of a step that is done. Where the listener fails or panics, the step is saved before
/// its failure goes on: what it does with an event is no reason to lose a model. Other ranks would
/// have to help, and do not know of it.
fn told(
    done: Done,
    progress: &Progress,
    saves: &mut Saves,
    listen: &mut Listen,
) -> Result<bool, TrainError> {
    let outcome = catch_unwind(AssertUnwindSafe(|| tell(done, listen)));
    if !matches!(outcome, Ok(Ok(_) | Err(TrainError::Guarded(_)))) && saves.is_alone() {
        let mut silent = |_: &Event| Ok(ControlFlow::Continue(()));
        // The first failure is the one to tell.
        let _ = saves.save(progress, &mut silent).and_then(|()| saves.finish(&mut silent));
    }
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// What follows a step: evaluations and checkpoints that are due. Returns whether the run ends
/// here.
fn settle(
    run: &Run,
    progress: &mut Progress,
    asked: bool,
    saves: &mut Saves,
    listen: &mut Listen,
) -> Result<bool, TrainError> {
    let Evaluated { better, mut stop } = evaluate(run, progress, asked, listen)?;
    let Progress { step, standing, .. } = *progress;
    if standing.is_exhausted(run.config.best) {
        // It ends here whatever the answer.
        let _ = listen(&Event::Stopped { step, best_step: standing.best.map(|best| best.step) })?;
        stop = true;
    }
    stop |= saves.tell(listen)?;
    let [stop, due] = run.group.any([stop, better || saves.due(step)])?;
    if stop || due {
        saves.save(progress, listen)?;
    }
    Ok(stop)
}
