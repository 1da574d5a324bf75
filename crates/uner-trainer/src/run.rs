//! The training loop. It has no modes: what to do was decided before it starts.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use uner_model::{Llama, LlamaConfig};

use crate::checkpoint::{self, Checkpoint, FORMAT_VERSION, State};
use crate::config::TrainConfig;
use crate::determinism::{differences, loss_difference};
use crate::error::TrainError;
use crate::event::{Event, StepMetrics};
use crate::flops::Flops;
use crate::gradients::Gradients;
use crate::guards::{Answer, Finding, GuardReport, GuardState, suspects};
use crate::loader::{Loader, StepData, in_order};
use crate::optimizer::{AdamW, Update, clip_factor};
use crate::schedule::{factor, warmup_updates};
use crate::step::{Forward, beside_the_kernels, loss};
use crate::stopwatch::{Breakdown, Stopwatch};
use crate::store::TokenStore;

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
    /// How many blocks, counted from the last, keep their graph for the backward pass.
    pub kept_blocks: usize,
    /// The run's folder; it exists.
    pub folder: &'a Path,
    /// Files that every checkpoint gets a copy of.
    pub companions: &'a [PathBuf],
    /// Whether every step is computed twice and compared to the bit: twice the time, and twice the gradients in memory.
    pub deterministic: bool,
}

/// A model on its way: weights, moments, the number of steps done, and what the guards remember of them.
#[derive(Debug)]
pub struct Progress {
    /// The weights.
    pub model: Llama,
    /// The moments.
    pub optimizer: AdamW,
    /// Steps done.
    pub step: u64,
    /// What the guards remember.
    pub guard: GuardState,
}

impl Progress {
    /// A model that is not trained yet.
    pub fn new(model: Llama) -> Self {
        Self { model, optimizer: AdamW::default(), step: 0, guard: GuardState::default() }
    }
}

impl From<Checkpoint> for Progress {
    fn from(found: Checkpoint) -> Self {
        let Checkpoint { model, optimizer, state, .. } = found;
        Self { model, optimizer, step: state.step, guard: state.guard }
    }
}

impl Run<'_> {
    /// Steps from start to end.
    pub fn total_steps(&self) -> u64 {
        self.config.total_steps(self.store.len())
    }

    /// What a checkpoint at this point says of this run.
    pub fn state(&self, progress: &Progress) -> State {
        State {
            format_version: FORMAT_VERSION,
            step: progress.step,
            seed: self.seed,
            data_fingerprint: self.store.summary().fingerprint,
            guard: progress.guard.clone(),
            train: self.config.clone(),
        }
    }
}

/// Trains from `progress` to the last step, telling `listen` of every event. When it answers `Break` to a step, the run
/// saves and returns early.
///
/// # Errors
/// When a guard stops the run (the step is not applied), a step that is computed twice differs, or a checkpoint cannot be
/// written.
pub fn train(
    run: &Run,
    mut progress: Progress,
    listen: &mut dyn FnMut(&Event) -> Result<ControlFlow<()>, TrainError>,
) -> Result<Progress, TrainError> {
    let total = run.total_steps();
    let known = Known { total, flops: Flops::new(&progress.model, run.model_config) };
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(PREFETCHED_STEPS);
        let loader = Loader::new(run.store, run.config, run.seed);
        let steps = progress.step..total;
        // Ends when the receiver is dropped, whichever way this closure is left.
        scope.spawn(move || steps.map(|step| loader.step(step)).try_for_each(|data| send.send(data)));

        let (mut stop, mut saving) = (false, 0.0);
        while progress.step < total && !stop {
            let mut done;
            (progress, done) = step(run, progress, &receive, &known)?;
            done.metrics.breakdown.save = std::mem::take(&mut saving);
            stop = tell(done, listen)?;
            let done = progress.step;
            let due = |every: u64| done.is_multiple_of(every) || done == total;
            if run.config.validate_every > 0
                && due(run.config.validate_every)
                && let Some(loss) = validate(run, &progress.model)
            {
                stop |= listen(&Event::Validated { step: done, loss })?.is_break();
            }
            if due(run.config.save_every) || stop {
                let start = Instant::now();
                let path = save(run, &progress)?;
                saving = start.elapsed().as_secs_f64();
                stop |= listen(&Event::Saved { step: done, path })?.is_break();
            }
        }
        Ok(progress)
    })
}

/// The mean loss of the trained tokens of the validation set.
fn validate(run: &Run, model: &Llama) -> Option<f64> {
    let store = run.validation?;
    let (mut sum, mut trained) = (0.0, 0);
    for batch in in_order(store, run.config) {
        sum += f64::from(loss(model, run.model_config, &batch).into_scalar::<f32>());
        trained += batch.num_trained();
    }
    Some(sum / trained as f64)
}

fn save(run: &Run, progress: &Progress) -> Result<PathBuf, TrainError> {
    let state = run.state(progress);
    let Progress { model, optimizer, .. } = progress;
    let path = checkpoint::save(run.folder, model, run.model_config, optimizer, &state, run.companions)?;
    checkpoint::prune(&path, run.config.keep_last)?;
    Ok(path)
}

/// What is known before the first step.
struct Known {
    total: u64,
    flops: Flops,
}

/// What is told of a step.
struct Done {
    metrics: StepMetrics,
    guarded: Option<GuardReport>,
}

/// Tells of a step and of what a guard found; returns whether the run is asked to stop.
fn tell(
    done: Done,
    listen: &mut dyn FnMut(&Event) -> Result<ControlFlow<()>, TrainError>,
) -> Result<bool, TrainError> {
    let Done { metrics, guarded } = done;
    let mut stop = false;
    if let Some(report) = guarded {
        stop = listen(&Event::Guarded(report.clone()))?.is_break();
        match report.answer {
            Answer::Stop => return Err(TrainError::Guarded(Box::new(report))),
            Answer::Skip => return Ok(stop),
            Answer::Ignore => {}
        }
    }
    Ok(listen(&Event::Step(metrics))?.is_break() || stop)
}

/// One optimizer step. The weights are handed through, so that they can be updated in place.
fn step(
    run: &Run,
    progress: Progress,
    receive: &Receiver<StepData>,
    known: &Known,
) -> Result<(Progress, Done), TrainError> {
    let start = Instant::now();
    let data = receive.recv().expect("the loader has a batch for every step");
    let waited = start.elapsed();

    let number = progress.step + 1;
    let device = progress.model.head().device();
    let (progress, outcome) = beside_the_kernels(&device, || update(run, progress, &data, known.total))?;
    let Outcome { loss, grad_norm, lr, finding, breakdown } = outcome;

    let seconds = start.elapsed().as_secs_f64();
    let metrics = StepMetrics {
        step: number,
        epoch: number as f64 / run.config.steps_per_epoch(run.store.len()) as f64,
        loss,
        grad_norm,
        lr,
        tokens: data.tokens,
        trained_tokens: data.trained_tokens,
        rows: data.micro_batches.iter().map(|batch| batch.rows).sum(),
        dropped_queries: data.dropped_queries,
        seconds,
        data_wait_seconds: waited.as_secs_f64(),
        tokens_per_second: data.tokens as f64 / seconds,
        flops: known.flops.of_step(data.tokens, data.trained_tokens, data.pairs),
        mfu: None,
        memory_in_use: None,
        memory_reserved: None,
        breakdown,
    };
    let guarded = finding.map(|finding| report(run, &progress, finding, &metrics, &data.conversations));
    Ok((progress, Done { metrics, guarded }))
}

/// What is told of a step that a guard has found. Its weights are still those before the step, but where it is applied.
fn report(
    run: &Run,
    progress: &Progress,
    finding: Finding,
    metrics: &StepMetrics,
    conversations: &[usize],
) -> GuardReport {
    let Finding { problem, z, answer } = finding;
    let epoch = (metrics.step - 1) / run.config.steps_per_epoch(run.store.len());
    let model = (&progress.model, run.model_config);
    GuardReport {
        step: metrics.step,
        problem,
        loss: Some(metrics.loss).filter(|loss| loss.is_finite()),
        grad_norm: Some(metrics.grad_norm).filter(|norm| norm.is_finite()),
        z,
        answer,
        skipped: progress.guard.skipped,
        conversations: suspects(model, run.store, conversations, (run.seed, epoch)),
    }
}

/// What an update tells of itself.
pub(crate) struct Outcome {
    /// Mean loss of the trained tokens.
    loss: f64,
    /// Norm of its gradient, before clipping.
    grad_norm: f64,
    /// Learning rate.
    lr: f64,
    /// What a guard found.
    finding: Option<Finding>,
    /// Where the time went.
    pub(crate) breakdown: Breakdown,
}

/// Forward, backward and AdamW. What a guard finds is not applied, unless the recipe ignores it.
pub(crate) fn update(
    run: &Run,
    progress: Progress,
    data: &StepData,
    total: u64,
) -> Result<(Progress, Outcome), TrainError> {
    let Progress { model, mut optimizer, step, mut guard } = progress;
    let number = step + 1;
    let device = model.head().device();
    let mut breakdown = Breakdown::default();
    let (loss, gradients) = forward_and_backward(run, &model, data, &device, &mut breakdown);
    if run.deterministic {
        let (again, second) = forward_and_backward(run, &model, data, &device, &mut Breakdown::default());
        let mut differences = differences(&gradients, &second);
        differences.extend(loss_difference(loss, again));
        if !differences.is_empty() {
            return Err(TrainError::NotDeterministic { step: number, differences });
        }
    }

    let mut watch = Stopwatch::start(&device);
    let trained = data.trained_tokens as f64;
    let grad_norm = gradients.norm() / trained;
    let finding = guard.judge(run.config.guards.as_ref(), loss, grad_norm);
    let warmup = warmup_updates(run.config.warmup_ratio, total);
    let lr = run.config.lr * factor(run.config.schedule, step, warmup, total);
    let model = if finding.as_ref().is_none_or(|finding| finding.answer == Answer::Ignore) {
        let grad_scale = clip_factor(grad_norm, run.config.max_grad_norm) / trained;
        // A skipped step is none to the moments.
        let update = Update { lr, step: number - guard.skipped, grad_scale };
        optimizer.step(model, gradients, run.config, update)
    } else {
        model
    };
    watch.lap(&mut breakdown.optimizer);
    let progress = Progress { model, optimizer, step: number, guard };
    Ok((progress, Outcome { loss, grad_norm, lr, finding, breakdown }))
}

/// The mean loss of a step's trained tokens and the gradients of their summed loss.
fn forward_and_backward(
    run: &Run,
    model: &Llama,
    data: &StepData,
    device: &Device,
    breakdown: &mut Breakdown,
) -> (f64, Gradients) {
    let mut watch = Stopwatch::start(device);
    let mut gradients = Gradients::default();
    let mut losses: Vec<Tensor<1>> = Vec::with_capacity(data.micro_batches.len());
    for batch in &data.micro_batches {
        let pass = Forward::new(model, run.model_config, batch, run.kept_blocks);
        watch.lap(&mut breakdown.forward);
        losses.push(pass.backward(&mut gradients));
        watch.lap(&mut breakdown.backward);
    }
    // Summed over micro-batches, divided once: the mean over tokens, however they are laid out.
    let sum: f64 = losses.into_iter().map(|sum| f64::from(sum.into_scalar::<f32>())).sum();
    (sum / data.trained_tokens as f64, gradients)
}
