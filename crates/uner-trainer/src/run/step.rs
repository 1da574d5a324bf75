//! One optimizer step: forward, backward, guards, AdamW, and what is told of it.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use burn::tensor::Tensor;

use super::{Listen, Run};
use crate::config::Answer;
use crate::data::loader::StepData;
use crate::error::TrainError;
use crate::metrics::event::{Event, StepMetrics};
use crate::metrics::timing::{Breakdown, Stopwatch};
use crate::report::GuardReport;
use crate::state::Progress;
use crate::step::determinism::{differences, loss_difference};
use crate::step::forward_backward::{Forward, Prepared, beside_the_kernels, stand_by};
use crate::step::gradients::Gradients;
use crate::step::guards::{Finding, suspects};
use crate::step::optimizer::{Update, clip_factor};
use crate::step::rank_model::RankModel;
use crate::step::schedule::lr_at;
use uner_model::Flops;

/// What is told of a step.
pub(crate) struct Done {
    pub(crate) metrics: StepMetrics,
    guarded: Option<GuardReport>,
}

/// Tells of a step and of what a guard found; returns whether the run is asked to stop.
pub(crate) fn tell(done: Done, listen: &mut Listen) -> Result<bool, TrainError> {
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
pub(crate) fn step(
    run: &Run,
    progress: Progress,
    receive: &Receiver<StepData>,
    flops: &Flops,
) -> Result<(Progress, Done), TrainError> {
    let start = Instant::now();
    let data = receive.recv().expect("the loader has a batch for every step");
    let waited = start.elapsed();

    let number = progress.step + 1;
    let device = progress.model.device();
    let work = || update(run, progress, &data);
    // Ranks wait for each other, which threads that work for all of them must not.
    let updated = if run.group.is_alone() { beside_the_kernels(&device, work) } else { work() };
    let (progress, Outcome { loss, grad_norm, lr, finding, breakdown }) = updated?;

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
    let report = |finding| report(run, &progress, finding, &metrics, &data.conversations);
    let guarded = finding.map(report).transpose()?;
    Ok((progress, Done { metrics, guarded }))
}

/// What is told of a step that a guard has found. Its weights are still those before the step, but
/// where it is applied.
fn report(
    run: &Run,
    progress: &Progress,
    finding: Finding,
    metrics: &StepMetrics,
    conversations: &[usize],
) -> Result<GuardReport, TrainError> {
    let Finding { problem, z, answer } = finding;
    let epoch = (metrics.step - 1) / run.config.steps_per_epoch(run.store.len());
    let model = progress.model.whole(run.group)?;
    Ok(GuardReport {
        step: metrics.step,
        problem,
        loss: Some(metrics.loss).filter(|loss| loss.is_finite()),
        grad_norm: Some(metrics.grad_norm).filter(|norm| norm.is_finite()),
        z,
        answer,
        skipped: progress.guard.skipped,
        conversations: suspects(
            (&model, run.model_config),
            run.store,
            conversations,
            (run.seed, epoch),
        ),
    })
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
) -> Result<(Progress, Outcome), TrainError> {
    let Progress { run: id, model, mut optimizer, step, standing, mut guard } = progress;
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
    if !run.group.is_alone() {
        watch.lap(&mut breakdown.reduce);
    }
    // Summed over micro-batches and ranks, divided once: the mean over tokens, however they are
    // laid out.
    let trained = data.trained_tokens as f64;
    let [sum, squared_norm] = run.group.total([sum, gradients.squared_norm()])?;
    let (loss, grad_norm) = (sum / trained, squared_norm.sqrt() / trained);
    let finding = guard.judge(run.config.guards.as_ref(), loss, grad_norm);
    let lr = lr_at(run.config, step, run.store.len());
    let model = if finding.as_ref().is_none_or(|finding| finding.answer == Answer::Ignore) {
        let grad_scale = clip_factor(grad_norm, run.config.max_grad_norm) / trained;
        // A skipped step is none to the moments.
        let update = Update { lr, step: number - guard.skipped, grad_scale };
        model.updated(&mut optimizer, gradients, run.config, update, run.group)?
    } else {
        model
    };
    watch.lap(&mut breakdown.optimizer);
    let progress = Progress { run: id, model, optimizer, step: number, standing, guard };
    Ok((progress, Outcome { loss, grad_norm, lr, finding, breakdown }))
}

/// The summed loss of this rank's share of a step, and its gradients.
fn forward_and_backward(
    run: &Run,
    model: &RankModel,
    data: &StepData,
    breakdown: &mut Breakdown,
) -> Result<(f64, Gradients), TrainError> {
    let device = model.device();
    let mut watch = Stopwatch::start(&device);
    let mut gradients = Gradients::default();
    let mut losses: Vec<Tensor<1>> = Vec::new();
    // Gradients that are computed twice are compared before they are summed. Where blocks are
    // divided, ranks that stand by could not start what others start within a pass.
    let starts = run.group.overlaps() && !run.check_determinism && !model.is_divided();
    let own = data.share(run.group).count();
    let mut batches =
        data.share(run.group).map(|batch| Prepared::new(model, run.model_config, batch));
    let mut next = batches.next();
    while let Some(batch) = next {
        let pass =
            Forward::new((model, run.group), batch, run.layout.recomputed_blocks, &mut gradients)?;
        watch.lap(&mut breakdown.forward);
        let last = losses.len() + 1 == own;
        losses.push(pass.backward(&mut gradients, starts && last)?);
        // While the device is at work.
        next = batches.next();
        watch.lap(&mut breakdown.backward);
    }
    if losses.len() < data.rounds(run.group) {
        stand_by((model, run.group), run.layout.recomputed_blocks, &mut gradients)?;
    }
    if losses.is_empty() {
        gradients.add_zeros(model.held());
    }
    gradients.settle();
    Ok((losses.into_iter().map(|sum| f64::from(sum.into_scalar::<f32>())).sum(), gradients))
}
