//! The state of a run: the model, its optimizer, and the best evaluation so far.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uner_model::{Llama, LlamaConfig};

use crate::config::{BestConfig, Measure};
use crate::distributed::Group;
use crate::step::guards::GuardState;
use crate::step::optimizer::AdamW;
use crate::step::precision::{self, Precision};
use crate::step::rank_model::RankModel;

/// The state of a training run: weights, moments, number of steps, best evaluation, guards.
#[derive(Debug)]
pub struct TrainState<T = RankModel> {
    /// The run that trains the model; `None` before its first step.
    pub run: Option<RunId>,
    /// The weights.
    pub model: T,
    /// The optimizer with its moments.
    pub optimizer: AdamW,
    /// Steps done.
    pub step: u64,
    /// The best evaluation so far.
    pub best_tracker: BestTracker,
    /// State of the guards.
    pub guard: GuardState,
}

impl<T> TrainState<T> {
    /// The state before the first step.
    pub fn begin(model: T, optimizer: AdamW) -> Self {
        Self {
            run: None,
            model,
            optimizer,
            step: 0,
            best_tracker: BestTracker::default(),
            guard: GuardState::default(),
        }
    }
}

impl TrainState {
    /// The state before the first step, from weights in f32, with the default precision of their
    /// device.
    pub fn new(model: Llama, group: &Group) -> Self {
        let precision = Precision::of(precision::parameters(&model.head().device()));
        Self::with(model, precision, group)
    }

    /// The state before the first step, from weights in f32, stored in the precision `precision`.
    pub fn with(model: Llama, precision: Precision, group: &Group) -> Self {
        let (model, optimizer) = AdamW::new(model, precision, group);
        Self::begin(RankModel::from(model), optimizer)
    }

    /// Shards the model's blocks over the ranks (`ZeRO` stage 3): see [`RankModel::shard`].
    #[must_use]
    pub fn shard(self, config: &LlamaConfig, group: &Group) -> Self {
        Self { model: self.model.shard(config, group), ..self }
    }
}

/// Identifies a run. A resumed run keeps its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId {
    /// The folder in which the run began.
    pub folder: PathBuf,
    /// When the run began, in seconds since 1970.
    pub started: u64,
}

impl RunId {
    /// The identity of a run that begins now.
    pub(crate) fn new(folder: &Path) -> Self {
        let started =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { folder: folder.to_owned(), started }
    }
}

/// The best evaluation of a run, and its early stopping. Every checkpoint stores it, so that a
/// resumed run continues the comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct BestTracker {
    /// The best evaluation.
    pub best: Option<Best>,
    /// Evaluations since the best one.
    pub without_better: u64,
    /// Whether an interrupt came before the evaluations that are due after the last step; a resumed
    /// run computes them.
    pub evaluation_pending: bool,
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The measure that was compared.
    pub by: Measure,
    /// Steps done at that evaluation.
    pub step: u64,
    /// The loss or score.
    pub value: f64,
}

impl BestTracker {
    /// Records an evaluation and returns whether it is the best so far. An equal value is not
    /// better, and NaN is never the best.
    pub(crate) fn observe(&mut self, by: Measure, step: u64, value: f64) -> bool {
        let better = match self.best {
            // A resumed run may compare another measure; an earlier best then means nothing.
            Some(best) if best.by == by => by.is_better(value, best.value),
            _ => value.is_finite(),
        };
        if better {
            self.best = Some(Best { by, step, value });
            self.without_better = 0;
        } else {
            self.without_better += 1;
        }
        better
    }

    /// Whether the patience is exhausted (early stopping).
    pub fn should_stop(&self, config: Option<BestConfig>) -> bool {
        config
            .and_then(|config| config.patience)
            .is_some_and(|patience| self.without_better >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(by: Measure, values: &[f64]) -> (Vec<bool>, BestTracker) {
        let mut best_tracker = BestTracker::default();
        let better = values
            .iter()
            .zip(1..)
            .map(|(&value, step)| best_tracker.observe(by, step, value))
            .collect();
        (better, best_tracker)
    }

    #[test]
    fn less_loss_and_more_score_are_better_and_ties_and_nan_are_not() {
        let (better, best_tracker) =
            observed(Measure::ValidationLoss, &[f64::NAN, 2.0, 2.0, 1.5, f64::NAN, 1.6]);
        assert_eq!(better, [false, true, false, true, false, false]);
        assert_eq!(
            best_tracker.best,
            Some(Best { by: Measure::ValidationLoss, step: 4, value: 1.5 })
        );
        assert_eq!(best_tracker.without_better, 2);
        let (better, _) = observed(Measure::Score, &[0.0, 0.5, 0.5, 0.4, 0.6]);
        assert_eq!(better, [true, true, false, false, true]);
    }

    #[test]
    fn patience_counts_evaluations_since_the_best() {
        let config = |patience| Some(BestConfig { by: Measure::Score, patience });
        let (_, best_tracker) = observed(Measure::Score, &[0.5, 0.4, 0.3]);
        assert!(best_tracker.should_stop(config(Some(2))));
        assert!(!best_tracker.should_stop(config(Some(3))));
        assert!(!best_tracker.should_stop(config(None)) && !best_tracker.should_stop(None));
    }

    #[test]
    fn another_measure_starts_anew() {
        let (_, mut best_tracker) = observed(Measure::ValidationLoss, &[0.1]);
        assert!(best_tracker.observe(Measure::Score, 2, 0.05), "a loss is not a score");
    }

    #[test]
    fn values_read_back_to_the_last_bit() {
        for value in [0.1 + 0.2, 1.0 / 3.0, f64::MIN_POSITIVE, 2.0f64.powi(60) + 256.0] {
            let best = Best { by: Measure::Score, step: 1, value };
            let text = serde_json::to_string(&best).unwrap();
            assert_eq!(serde_json::from_str::<Best>(&text).unwrap(), best, "{text}");
        }
    }
}
