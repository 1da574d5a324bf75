//! Evaluations between two steps. They do not affect the weights, the moments or any order: the run
//! trains the same with and without them.

use std::fmt;
use std::time::Instant;

use uner_model::Llama;

use super::{OnEvent, Run};
use crate::config::Measure;
use crate::data::loader::in_order;
use crate::error::TrainError;
use crate::metrics::event::Event;
use crate::state::TrainState;
use crate::step::trainable::Trainable;

/// Functions of the program that the loop calls; by default none.
#[derive(Debug)]
pub struct Callbacks<'a, M = Llama> {
    /// Scores the model on its task.
    pub scoring: Option<Scoring<'a, M>>,
    /// Whether the run should save and stop. The loop calls it only during evaluations, which may
    /// take long; between steps, `on_event` decides.
    pub interrupted: Option<Interrupted<'a>>,
}

/// Periodic scoring of the model; more is better.
pub struct Scoring<'a, M = Llama> {
    /// Steps between two scores; the last step is always scored.
    pub every: u64,
    /// Scores a model; `None` if an interrupt came first. The same model must always get the same
    /// score.
    pub score: &'a (dyn Fn(&M) -> Result<Option<f64>, TrainError> + Sync),
}

/// Whether the run should save and stop.
#[derive(Clone, Copy)]
pub struct Interrupted<'a>(pub &'a (dyn Fn() -> bool + Sync));

impl<M> Clone for Callbacks<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Callbacks<'_, M> {}

impl<M> Default for Callbacks<'_, M> {
    fn default() -> Self {
        Self { scoring: None, interrupted: None }
    }
}

impl<M> Clone for Scoring<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Scoring<'_, M> {}

impl<M> fmt::Debug for Scoring<'_, M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Scoring").field("every", &self.every).finish_non_exhaustive()
    }
}

impl fmt::Debug for Interrupted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Interrupted").finish_non_exhaustive()
    }
}

/// Result of the evaluations after a step.
#[derive(Debug, Default)]
pub(crate) struct Evaluated {
    /// Whether the model is the best so far.
    pub(crate) better: bool,
    /// Whether the run should save and stop.
    pub(crate) stop: bool,
}

/// Computes the evaluations that are due after the last step, and emits their events once all are
/// complete. If the run is `stop_requested` to stop before or meanwhile, a resumed run computes
/// them.
pub(crate) fn evaluate<T: Trainable>(
    run: &Run<T>,
    state: &mut TrainState<T>,
    stop_requested: bool,
    on_event: &mut OnEvent,
) -> Result<Evaluated, TrainError> {
    let (step, total) = (state.step, run.total_steps());
    let due = |every: u64| every > 0 && (step.is_multiple_of(every) || step == total);
    let validates = run.validation.is_some() && due(run.config.validate_every);
    let scoring = run.callbacks.scoring.filter(|scoring| due(scoring.every));
    state.best_tracker.evaluation_pending = validates || scoring.is_some();
    if stop_requested {
        return Ok(Evaluated { better: false, stop: true });
    }

    if !state.best_tracker.evaluation_pending {
        return Ok(Evaluated::default());
    }
    let mut events = Vec::new();
    let model = state.model.gathered(run.group)?;
    if validates {
        let Some(loss) = validate(run, &model)? else {
            return Ok(Evaluated { better: false, stop: true });
        };
        events.push((Measure::ValidationLoss, loss, Event::Validated { step, loss }));
    }
    if let Some(scoring) = scoring {
        let start = Instant::now();
        let Some(score) = score(run, scoring, &model)? else {
            return Ok(Evaluated { better: false, stop: true });
        };
        let seconds = start.elapsed().as_secs_f64();
        events.push((Measure::Score, score, Event::Scored { step, score, seconds }));
    }
    state.best_tracker.evaluation_pending = false;

    let mut evaluated = Evaluated::default();
    for (measure, value, event) in events {
        if run.config.best.is_some_and(|best| best.by == measure) {
            evaluated.better = state.best_tracker.observe(measure, step, value);
        }
        evaluated.stop |= on_event(&event)?.is_break();
    }
    Ok(evaluated)
}

/// The score of the model, which rank 0 computes; `None` if an interrupt came first.
fn score<T: Trainable>(
    run: &Run<T>,
    scoring: Scoring<T::Model>,
    model: &T::Model,
) -> Result<Option<f64>, TrainError> {
    let own = if run.group.is_main() { (scoring.score)(model)? } else { None };
    let [score, is_there] =
        run.group.all_reduce_scalars([own.unwrap_or(0.0), f64::from(u8::from(own.is_some()))])?;
    Ok((is_there > 0.0).then_some(score))
}

/// The mean loss of the validation set's trained tokens, to which each rank adds its micro-batches;
/// `None` if an interrupt came first.
fn validate<T: Trainable>(run: &Run<T>, model: &T::Model) -> Result<Option<f64>, TrainError> {
    let Some(store) = run.validation else { return Ok(None) };
    let (mut sum, mut trained, mut was_interrupted) = (0.0, 0, false);
    let batches = in_order(store, run.config, run.layout.micro_batch_rows);
    for batch in batches.skip(run.group.rank()).step_by(run.group.world_size()) {
        was_interrupted =
            run.callbacks.interrupted.is_some_and(|Interrupted(stop_requested)| stop_requested());
        if was_interrupted {
            break;
        }
        sum += f64::from(T::loss(model, run.model_config, &batch).into_scalar::<f32>());
        trained += batch.num_trained();
    }
    let [sum, trained, was_interrupted] = run.group.all_reduce_scalars([
        sum,
        trained as f64,
        f64::from(u8::from(was_interrupted)),
    ])?;
    Ok((was_interrupted == 0.0).then_some(sum / trained))
}
