//! The state of a run: the model with its optimizer, and how good it is so far.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uner_model::{Llama, LlamaConfig};

use crate::config::{BestConfig, Measure};
use crate::distributed::Group;
use crate::step::guards::GuardState;
use crate::step::optimizer::AdamW;
use crate::step::precision::{self, Policy};
use crate::step::rank_model::RankModel;

/// A model on its way: weights, moments, the number of steps done, how good it is so far, and what
/// the guards remember.
#[derive(Debug)]
pub struct Progress {
    /// The run it is of; `None` before its first step.
    pub run: Option<RunId>,
    /// The weights.
    pub model: RankModel,
    /// The moments.
    pub optimizer: AdamW,
    /// Steps done.
    pub step: u64,
    /// How good it is so far.
    pub standing: Standing,
    /// What the guards remember.
    pub guard: GuardState,
}

impl Progress {
    /// A model that is not trained yet, from weights in f32, stored as its device does where a
    /// recipe says nothing.
    pub fn new(model: Llama, group: &Group) -> Self {
        let policy = Policy::of(precision::parameters(&model.head().device()));
        Self::with(model, policy, group)
    }

    /// A model that is not trained yet, from weights in f32, stored as `policy` says.
    pub fn with(model: Llama, policy: Policy, group: &Group) -> Self {
        let (model, optimizer) = AdamW::new(model, policy, group);
        let model = RankModel::from(model);
        Self {
            run: None,
            model,
            optimizer,
            step: 0,
            standing: Standing::default(),
            guard: GuardState::default(),
        }
    }

    /// With the model's blocks divided among the ranks: see [`RankModel::divide`].
    #[must_use]
    pub fn divide(self, config: &LlamaConfig, group: &Group) -> Self {
        Self { model: self.model.divide(config, group), ..self }
    }
}

/// Names a run, from its first step to its last, however often it is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId {
    /// The folder it began in.
    pub folder: PathBuf,
    /// When it began, in seconds since 1970.
    pub started: u64,
}

impl RunId {
    /// The name of a run that begins now.
    pub(crate) fn new(folder: &Path) -> Self {
        let started =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { folder: folder.to_owned(), started }
    }
}

/// How good a run is so far. Part of every checkpoint, so that a resumed run goes on comparing
/// where it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The best evaluation.
    pub best: Option<Best>,
    /// Evaluations since then.
    pub without_better: u64,
    /// Whether the evaluations due after the last step are still to be done, because an interrupt
    /// came first.
    pub cut_short: bool,
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// What was compared.
    pub by: Measure,
    /// Steps done then.
    pub step: u64,
    /// The loss or score.
    #[serde(with = "exact")]
    pub value: f64,
}

impl Standing {
    /// Takes an evaluation in, and tells whether it is the best. Equally good is not better, and
    /// NaN is never the best.
    pub(crate) fn judge(&mut self, by: Measure, step: u64, value: f64) -> bool {
        let better = match self.best {
            // Another measure was compared before the run was resumed: its values say nothing about
            // these.
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

    /// Whether the recipe's patience is at its end.
    pub fn is_exhausted(&self, config: Option<BestConfig>) -> bool {
        config
            .and_then(|config| config.patience)
            .is_some_and(|patience| self.without_better >= patience)
    }
}

/// Numbers as text: JSON readers may miss the last bit of a number, and then a tie would be a new
/// best after a resume.
mod exact {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(by: Measure, values: &[f64]) -> (Vec<bool>, Standing) {
        let mut standing = Standing::default();
        let better =
            values.iter().zip(1..).map(|(&value, step)| standing.judge(by, step, value)).collect();
        (better, standing)
    }

    #[test]
    fn less_loss_and_more_score_are_better_and_ties_and_nan_are_not() {
        let (better, standing) =
            judged(Measure::ValidationLoss, &[f64::NAN, 2.0, 2.0, 1.5, f64::NAN, 1.6]);
        assert_eq!(better, [false, true, false, true, false, false]);
        assert_eq!(standing.best, Some(Best { by: Measure::ValidationLoss, step: 4, value: 1.5 }));
        assert_eq!(standing.without_better, 2);
        let (better, _) = judged(Measure::Score, &[0.0, 0.5, 0.5, 0.4, 0.6]);
        assert_eq!(better, [true, true, false, false, true]);
    }

    #[test]
    fn patience_counts_evaluations_since_the_best() {
        let config = |patience| Some(BestConfig { by: Measure::Score, patience });
        let (_, standing) = judged(Measure::Score, &[0.5, 0.4, 0.3]);
        assert!(standing.is_exhausted(config(Some(2))));
        assert!(!standing.is_exhausted(config(Some(3))));
        assert!(!standing.is_exhausted(config(None)) && !standing.is_exhausted(None));
    }

    #[test]
    fn another_measure_starts_anew() {
        let (_, mut standing) = judged(Measure::ValidationLoss, &[0.1]);
        assert!(standing.judge(Measure::Score, 2, 0.05), "a loss is no score");
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
