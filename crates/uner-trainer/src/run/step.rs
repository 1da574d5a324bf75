//! One optimizer step: forward, backward, guards, AdamW, and its report.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::{OnEvent, Run};
use crate::config::GuardAction;
use crate::data::loader::StepData;
use crate::error::TrainError;
use crate::metrics::event::{Event, StepMetrics};
use crate::metrics::timing::{Breakdown, Stopwatch};
use crate::report::GuardReport;
use crate::state::TrainState;
use crate::step::determinism::{differences, loss_difference};
use crate::step::forward_backward::on_worker_thread;
use crate::step::gradients::Gradients;
use crate::step::guards::{GuardHit, suspects};
use crate::step::optimizer::{Update, clip_factor};
use crate::step::schedule::lr_at;
use crate::step::trainable::{Pass, Trainable};
use uner_model::Flops;

/// The report of a step.
pub(crate) struct StepReport {
    pub(crate) metrics: StepMetrics,
    guarded: Option<GuardReport>,
}

/// Emits the events of a step and its guards; returns whether `on_event` returned `Break`.
pub(crate) fn emit(step_report: StepReport, on_event: &mut OnEvent) -> Result<bool, TrainError> {
    let StepReport { metrics, guarded } = step_report;
    let mut stop = false;
    if let Some(report) = guarded {
        stop = on_event(&Event::Guarded(report.clone()))?.is_break();
        match report.answer {
            GuardAction::Stop => return Err(TrainError::Guarded(Box::new(report))),
            GuardAction::Skip => return Ok(stop),
            GuardAction::Ignore => {}
        }
    }
    Ok(on_event(&Event::Step(metrics))?.is_break() || stop)
}

/// Runs one optimizer step. It owns the weights, so that they can be updated in place.
pub(crate) fn step<T: Trainable>(
    run: &Run<T>,
    state: TrainState<T>,
    receive: &Receiver<StepData>,
    flops: &Flops,
) -> Result<(TrainState<T>, StepReport), TrainError> {
    let start = Instant::now();
    let data = receive.recv().expect("the loader has a batch for every step");
    let waited = start.elapsed();

    let number = state.step + 1;
    let device = state.model.device();
    let work = || update(run, state, &data);
    // Ranks wait for each other, which must not block the worker threads that all ranks share.
    let updated = if run.group.is_single() { on_worker_thread(&device, work) } else { work() };
    let (state, StepOutcome { loss, grad_norm, lr, guard_hit, breakdown }) = updated?;

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
        flops: flops.of_step(data.tokens, data.trained_tokens, data.pairs),
        mfu: None,
        matmul_utilization: None,
        memory_in_use: None,
        memory_reserved: None,
        breakdown,
    };
    let report = |guard_hit| report(run, &state, guard_hit, &metrics, &data.conversations);
    let guarded = guard_hit.map(report).transpose()?;
    Ok((state, StepReport { metrics, guarded }))
}

/// Builds the report of a guarded step. Losses are computed with the weights before the step,
/// unless the guard's answer is `Ignore` and the step was applied.
fn report<T: Trainable>(
    run: &Run<T>,
    state: &TrainState<T>,
    guard_hit: GuardHit,
    metrics: &StepMetrics,
    conversations: &[usize],
) -> Result<GuardReport, TrainError> {
    let GuardHit { problem, z, answer } = guard_hit;
    let epoch = (metrics.step - 1) / run.config.steps_per_epoch(run.store.len());
    let model = state.model.gathered(run.group)?;
    Ok(GuardReport {
        step: metrics.step,
        problem,
        loss: Some(metrics.loss).filter(|loss| loss.is_finite()),
        grad_norm: Some(metrics.grad_norm).filter(|norm| norm.is_finite()),
        z,
        answer,
        skipped: state.guard.skipped,
        conversations: suspects::<T>(
            (&model, run.model_config),
            run.store,
            conversations,
            (run.seed, epoch),
        ),
    })
}

/// The outcome of an update.
pub(crate) struct StepOutcome {
    /// Mean loss of the trained tokens.
    loss: f64,
    /// Norm of the mean loss's gradient before clipping.
    grad_norm: f64,
    /// Learning rate.
    lr: f64,
    /// The problem that a guard found.
    guard_hit: Option<GuardHit>,
    /// Time of each phase.
    pub(crate) breakdown: Breakdown,
}

/// Forward, backward and AdamW. A step that a guard found is applied only if the answer is
/// `Ignore`.
pub(crate) fn update<T: Trainable>(
    run: &Run<T>,
    state: TrainState<T>,
    data: &StepData,
) -> Result<(TrainState<T>, StepOutcome), TrainError> {
    let TrainState { run: id, model, mut optimizer, step, best_tracker, mut guard } = state;
    let number = step + 1;
    let device = model.device();
    let mut breakdown = Breakdown::default();
    let (sum, gradients) = forward_and_backward(run, &model, data, &mut breakdown)?;
    if run.check_determinism {
        let (again, second) = forward_and_backward(run, &model, data, &mut Breakdown::default())?;
        let mut differences = differences(&gradients, &second);
        differences.extend(loss_difference(sum, again));
        if !differences.is_empty() {
            return Err(TrainError::NotDeterministic { step: number, differences });
        }
    }

    let mut watch = Stopwatch::start(&device);
    let gradients = gradients.reduce(run.group)?;
    if !run.group.is_single() {
        watch.lap(&mut breakdown.reduce);
    }
    // Sums over micro-batches and ranks are divided once, by the step's trained tokens: the mean
    // over tokens in any layout.
    let trained = data.trained_tokens as f64;
    let [sum, squared_norm] = run.group.all_reduce_scalars([sum, gradients.squared_norm()])?;
    let (loss, grad_norm) = (sum / trained, squared_norm.sqrt() / trained);
    let guard_hit = guard.check(run.config.guards.as_ref(), loss, grad_norm);
    let lr = lr_at(run.config, step, run.store.len());
    let model = if guard_hit.as_ref().is_none_or(|hit| hit.answer == GuardAction::Ignore) {
        let grad_scale = clip_factor(grad_norm, run.config.max_grad_norm) / trained;
        // The bias correction of the moments does not count skipped steps.
        let update = Update { lr, step: number - guard.skipped, grad_scale };
        model.updated(&mut optimizer, gradients, run.config, update, run.group)?
    } else {
        model
    };
    watch.lap(&mut breakdown.optimizer);
    let state = TrainState { run: id, model, optimizer, step: number, best_tracker, guard };
    Ok((state, StepOutcome { loss, grad_norm, lr, guard_hit, breakdown }))
}

/// The summed loss of this rank's micro-batches of a step, and its gradients.
fn forward_and_backward<T: Trainable>(
    run: &Run<T>,
    model: &T,
    data: &StepData,
    breakdown: &mut Breakdown,
) -> Result<(f64, Gradients), TrainError> {
    let pass = Pass {
        config: run.model_config,
        group: run.group,
        recomputed_blocks: run.layout.recomputed_blocks,
        // Two computations of gradients are compared before they are summed over ranks.
        overlaps: run.group.overlaps() && !run.check_determinism,
    };
    let mut gradients = Gradients::default();
    let loss = model.accumulate(pass, data, &mut gradients, breakdown)?;
    gradients.wait();
    Ok((loss, gradients))
}
