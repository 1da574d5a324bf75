//! The training loop. It has no modes: what to do was decided before it starts.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use burn::tensor::Tensor;
use uner_model::{Llama, LlamaConfig};

use crate::checkpoint::{self, FORMAT_VERSION, State};
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::event::{Event, StepMetrics};
use crate::gradients::Gradients;
use crate::group::Group;
use crate::loader::{Loader, StepData, in_order};
use crate::optimizer::{AdamW, Update, clip_factor};
use crate::schedule::{factor, warmup_updates};
use crate::step::{accumulate, beside_the_kernels, loss};
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
    /// This rank among all.
    pub group: &'a Group,
}

/// A model on its way: weights, moments and the number of steps done.
#[derive(Debug)]
pub struct Progress {
    /// The weights.
    pub model: Llama,
    /// The moments.
    pub optimizer: AdamW,
    /// Steps done.
    pub step: u64,
}

impl Run<'_> {
    /// Steps from start to end.
    pub fn total_steps(&self) -> u64 {
        self.config.total_steps(self.store.len())
    }

    /// What a checkpoint after `step` steps says of this run.
    pub fn state(&self, step: u64) -> State {
        State {
            format_version: FORMAT_VERSION,
            step,
            seed: self.seed,
            data_fingerprint: self.store.summary().fingerprint,
            train: self.config.clone(),
        }
    }
}

/// Trains from `progress` to the last step, telling `listen` of every event. When it answers `Break` to a step, on any rank, the
/// run saves and returns early. Every rank trains with a run that differs in nothing but its group; the first one writes the
/// checkpoints.
///
/// # Errors
/// When the loss or its gradient is not finite (the step is not applied), or when a checkpoint cannot be written.
pub fn train(
    run: &Run,
    mut progress: Progress,
    listen: &mut dyn FnMut(&Event) -> Result<ControlFlow<()>, TrainError>,
) -> Result<Progress, TrainError> {
    let total = run.total_steps();
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(PREFETCHED_STEPS);
        let loader = Loader::new(run.store, run.config, run.seed);
        let steps = progress.step..total;
        // Ends when the receiver is dropped, whichever way this closure is left.
        scope.spawn(move || steps.map(|step| loader.step(step)).try_for_each(|data| send.send(data)));

        let mut stop = false;
        while progress.step < total && !stop {
            let metrics;
            (progress, metrics) = step(run, progress, &receive, total)?;
            stop = listen(&Event::Step(metrics))?.is_break();
            let done = progress.step;
            let due = |every: u64| done.is_multiple_of(every) || done == total;
            if run.config.validate_every > 0
                && due(run.config.validate_every)
                && let Some(loss) = validate(run, &progress.model)?
            {
                stop |= listen(&Event::Validated { step: done, loss })?.is_break();
            }
            // One rank's wish is all ranks' command.
            stop = run.group.total([f64::from(u8::from(stop))])? != [0.0];
            if due(run.config.save_every) || stop {
                let saved = save(run, &progress)?;
                let event = saved.map(|path| Event::Saved { step: done, path });
                let told = event.map_or(Ok(ControlFlow::Continue(())), |event| listen(&event))?;
                stop = run.group.total([f64::from(u8::from(stop || told.is_break()))])? != [0.0];
            }
        }
        Ok(progress)
    })
}

/// The mean loss of the trained tokens of the validation set, of which each rank computes its share.
fn validate(run: &Run, model: &Llama) -> Result<Option<f64>, TrainError> {
    let Some(store) = run.validation else { return Ok(None) };
    let (mut sum, mut trained) = (0.0, 0);
    for batch in in_order(store, run.config).skip(run.group.rank()).step_by(run.group.world_size()) {
        sum += f64::from(loss(model, run.model_config, &batch).into_scalar::<f32>());
        trained += batch.num_trained();
    }
    let [sum, trained] = run.group.total([sum, trained as f64])?;
    Ok(Some(sum / trained))
}

/// Writes a checkpoint on the first rank and returns its path there.
fn save(run: &Run, progress: &Progress) -> Result<Option<PathBuf>, TrainError> {
    let state = run.state(progress.step);
    let Progress { model, optimizer, .. } = progress;
    let optimizer = optimizer.gathered(model, run.group)?;
    if !run.group.is_first() {
        return Ok(None);
    }
    let path = checkpoint::save(run.folder, model, run.model_config, &optimizer, &state, run.companions)?;
    checkpoint::prune(&path, run.config.keep_last)?;
    Ok(Some(path))
}

/// One optimizer step. The weights are handed through, so that they can be updated in place.
fn step(
    run: &Run,
    progress: Progress,
    receive: &Receiver<StepData>,
    total: u64,
) -> Result<(Progress, StepMetrics), TrainError> {
    let start = Instant::now();
    let data = receive.recv().expect("the loader has a batch for every step");
    let waited = start.elapsed();

    let number = progress.step + 1;
    let device = progress.model.head().device();
    let work = || update(run, progress, &data, total);
    // Ranks wait for each other, which threads that work for all of them must not.
    let outcome = if run.group.is_alone() { beside_the_kernels(&device, work) } else { work() };
    let (progress, Outcome { loss, grad_norm, lr }) = outcome?;

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
    };
    Ok((progress, metrics))
}

/// What an update tells of itself.
struct Outcome {
    /// Mean loss of the trained tokens.
    loss: f64,
    /// Norm of its gradient, before clipping.
    grad_norm: f64,
    /// Learning rate.
    lr: f64,
}

/// Forward, backward and AdamW.
fn update(
    run: &Run,
    progress: Progress,
    data: &StepData,
    total: u64,
) -> Result<(Progress, Outcome), TrainError> {
    let Progress { model, mut optimizer, step } = progress;
    let mut gradients = Gradients::default();
    let losses: Vec<Tensor<1>> = data
        .share(run.group)
        .map(|batch| accumulate(&model, run.model_config, batch, run.kept_blocks, &mut gradients))
        .collect();
    if losses.is_empty() {
        gradients = Gradients::zeros(&model);
    }
    let gradients = gradients.reduce(run.group)?;
    let loss = losses.into_iter().map(|sum| f64::from(sum.into_scalar::<f32>())).sum::<f64>();
    let [loss, squared_norm] = run.group.total([loss, gradients.squared_norm()])?;
    // Summed over micro-batches and ranks, divided once: the mean over tokens, however they are laid out.
    let trained = data.trained_tokens as f64;
    let (loss, grad_norm) = (loss / trained, squared_norm.sqrt() / trained);
    let number = step + 1;
    for (what, value) in [("loss", loss), ("gradient norm", grad_norm)] {
        if !value.is_finite() {
            let conversations = data.conversations.clone();
            return Err(TrainError::NotFinite { step: number, what, value, conversations });
        }
    }

    let warmup = warmup_updates(run.config.warmup_ratio, total);
    let lr = run.config.lr * factor(run.config.schedule, step, warmup, total);
    let grad_scale = clip_factor(grad_norm, run.config.max_grad_norm) / trained;
    let update = Update { lr, step: number, grad_scale };
    let model = optimizer.step(model, gradients, run.config, update, run.group)?;
    Ok((Progress { model, optimizer, step: number }, Outcome { loss, grad_norm, lr }))
}
