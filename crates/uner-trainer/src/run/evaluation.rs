//! What is measured between two steps. Nothing of it reaches the weights, the moments or an order:
//! the run trains the same with and without.

use std::fmt;
use std::time::Instant;

use uner_model::Llama;

use super::{Listen, Run};
use crate::config::Measure;
use crate::data::loader::in_order;
use crate::error::TrainError;
use crate::metrics::event::Event;
use crate::state::Progress;
use crate::step::forward_backward::loss;

/// What the loop asks of the program it runs in. By default, nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Callbacks<'a> {
    /// How good the model is at its task.
    pub scoring: Option<Scoring<'a>>,
    /// Whether the run is to save and stop: looked at during evaluations, which may be longer than
    /// anyone waits. Between steps, the listener is asked.
    pub interrupted: Option<Interrupted<'a>>,
}

/// A score of the model every so many steps; more is better.
#[derive(Clone, Copy)]
pub struct Scoring<'a> {
    /// Steps between two of them; the last step is always scored.
    pub every: u64,
    /// Scores a model; `None` when an interrupt cut it short. The same model always has the same
    /// score.
    pub score: &'a (dyn Fn(&Llama) -> Result<Option<f64>, TrainError> + Sync),
}

/// Whether the run is to save and stop.
#[derive(Clone, Copy)]
pub struct Interrupted<'a>(pub &'a (dyn Fn() -> bool + Sync));

impl fmt::Debug for Scoring<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Scoring").field("every", &self.every).finish_non_exhaustive()
    }
}

impl fmt::Debug for Interrupted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Interrupted").finish_non_exhaustive()
    }
}

/// What the evaluations after a step said.
#[derive(Debug, Default)]
pub(crate) struct Evaluated {
    /// Whether the model is the best so far.
    pub(crate) better: bool,
    /// Whether the run is to save and stop.
    pub(crate) stop: bool,
}

/// Does the evaluations that are due after the last step, and tells of them once all are done. When
/// the run is `asked` to stop, before or meanwhile, they are left for when it is resumed.
pub(crate) fn evaluate(
    run: &Run,
    progress: &mut Progress,
    asked: bool,
    listen: &mut Listen,
) -> Result<Evaluated, TrainError> {
    let (step, total) = (progress.step, run.total_steps());
    let due = |every: u64| every > 0 && (step.is_multiple_of(every) || step == total);
    let validates = run.validation.is_some() && due(run.config.validate_every);
    let scoring = run.callbacks.scoring.filter(|scoring| due(scoring.every));
    progress.standing.cut_short = validates || scoring.is_some();
    if asked {
        return Ok(Evaluated { better: false, stop: true });
    }

    if !progress.standing.cut_short {
        return Ok(Evaluated::default());
    }
    let mut events = Vec::new();
    let model = progress.model.whole(run.group)?;
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
    progress.standing.cut_short = false;

    let mut evaluated = Evaluated::default();
    for (measure, value, event) in events {
        if run.config.best.is_some_and(|best| best.by == measure) {
            evaluated.better = progress.standing.judge(measure, step, value);
        }
        evaluated.stop |= listen(&event)?.is_break();
    }
    Ok(evaluated)
}

/// The score of the model, which the first rank computes; `None` when an interrupt cut it short.
fn score(run: &Run, scoring: Scoring, model: &Llama) -> Result<Option<f64>, TrainError> {
    let own = if run.group.is_first() { (scoring.score)(model)? } else { None };
    let [score, is_there] =
        run.group.total([own.unwrap_or(0.0), f64::from(u8::from(own.is_some()))])?;
    Ok((is_there > 0.0).then_some(score))
}

/// The mean loss of the trained tokens of the validation set, of which each rank computes its
/// share; `None` when an interrupt cut it short.
fn validate(run: &Run, model: &Llama) -> Result<Option<f64>, TrainError> {
    let Some(store) = run.validation else { return Ok(None) };
    let (mut sum, mut trained, mut cut_short) = (0.0, 0, false);
    let batches = in_order(store, run.config, run.layout.micro_batch_rows);
    for batch in batches.skip(run.group.rank()).step_by(run.group.world_size()) {
        cut_short = run.callbacks.interrupted.is_some_and(|Interrupted(asked)| asked());
        if cut_short {
            break;
        }
        sum += f64::from(loss(model, run.model_config, &batch).into_scalar::<f32>());
        trained += batch.num_trained();
    }
    let [sum, trained, cut_short] =
        run.group.total([sum, trained as f64, f64::from(u8::from(cut_short))])?;
    Ok((cut_short == 0.0).then_some(sum / trained))
}
