//! Guards against a step that would damage the model: its loss or gradient norm is not finite, or
//! its loss jumps.
//!
//! A jump is detected by its z-score, `(loss - mean) / deviation`, over a window of earlier losses.
//! The window includes the losses of jumps, so that a loss that has moved permanently is accepted
//! after some steps.

use std::collections::VecDeque;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::trainable::Trainable;
use crate::config::{GuardAction, GuardsConfig};
use crate::data::TokenStore;
use crate::data::micro_batches::micro_batches;
use crate::report::Suspect;

/// Limit on consecutive skipped steps; one more stops the run.
const MOST_SKIPPED_IN_A_ROW: u64 = 20;
/// Lower bound of the deviation as a fraction of the mean, because a constant loss has almost none.
const LEAST_DEVIATION: f64 = 0.01;

/// State of the guards. A checkpoint stores it, so that a resumed run decides as the uninterrupted
/// one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardState {
    /// Steps skipped so far. The bias correction of the moments does not count them.
    pub skipped: u64,
    /// Steps skipped since the last applied step.
    pub skipped_in_a_row: u64,
    /// Losses of the last steps, oldest first.
    window: VecDeque<f64>,
}

/// A step that a guard has found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GuardHit {
    /// The problem, as a sentence without a full stop.
    pub(crate) problem: String,
    /// For a jump: standard deviations above the mean.
    pub(crate) z: Option<f64>,
    /// The guard's action.
    pub(crate) answer: GuardAction,
}

impl GuardState {
    /// Checks a step before it is applied, and records it.
    pub(crate) fn check(
        &mut self,
        config: Option<&GuardsConfig>,
        loss: f64,
        grad_norm: f64,
    ) -> Option<GuardHit> {
        let mut hit = not_finite(loss, grad_norm).map(|problem| {
            let answer = config.map_or(GuardAction::Stop, |config| config.non_finite);
            GuardHit { problem, z: None, answer }
        });
        if let Some(config) = config {
            hit = hit.or_else(|| self.spike(config, loss));
            self.remember(loss, config.spike_window);
        }
        self.count(hit.as_mut());
        hit
    }

    fn spike(&self, config: &GuardsConfig, loss: f64) -> Option<GuardHit> {
        let count = self.window.len();
        if count < config.spike_window {
            return None;
        }
        let mean = self.window.iter().sum::<f64>() / count as f64;
        let variance =
            self.window.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
        let z = (loss - mean)
            / variance.sqrt().max(LEAST_DEVIATION * mean.abs()).max(f64::MIN_POSITIVE);
        (z > config.spike_z).then(|| GuardHit {
            problem: format!(
                "the loss {loss:.4} is {z:.1} standard deviations above the mean {mean:.4} of the \
                 {count} steps before"
            ),
            z: Some(z),
            answer: config.spike,
        })
    }

    fn remember(&mut self, loss: f64, most: usize) {
        if loss.is_finite() {
            self.window.push_back(loss);
        }
        // A resumed run may have a shorter window.
        while self.window.len() > most {
            self.window.pop_front();
        }
    }

    fn count(&mut self, hit: Option<&mut GuardHit>) {
        let Some(hit) = hit.filter(|hit| hit.answer == GuardAction::Skip) else {
            self.skipped_in_a_row = 0;
            return;
        };
        self.skipped += 1;
        self.skipped_in_a_row += 1;
        if self.skipped_in_a_row > MOST_SKIPPED_IN_A_ROW {
            hit.answer = GuardAction::Stop;
            let _ =
                write!(hit.problem, ", after {MOST_SKIPPED_IN_A_ROW} steps in a row were skipped");
        }
    }
}

fn not_finite(loss: f64, grad_norm: f64) -> Option<String> {
    let values = [("loss", loss), ("gradient norm", grad_norm)];
    let (what, value) = values.into_iter().find(|(_, value)| !value.is_finite())?;
    Some(format!("the {what} is {value}"))
}

/// The conversations at `indices` with their mean losses in epoch `epoch`, highest first; losses
/// that are not finite come before all others.
pub(crate) fn suspects<T: Trainable>(
    (model, config): (&T::Model, &T::Config),
    store: &TokenStore,
    indices: &[usize],
    (seed, epoch): (u64, u64),
) -> Vec<Suspect> {
    let mut suspects: Vec<Suspect> = indices
        .iter()
        .map(|&index| {
            let sequence = store.sequence(index, seed, epoch).0;
            let [batch] = &micro_batches(vec![sequence], usize::MAX, 1)[..] else {
                unreachable!("one sequence is one micro-batch")
            };
            let sum = f64::from(T::loss(model, config, batch).into_scalar::<f32>());
            let mean = sum / batch.num_trained() as f64;
            Suspect { index, loss: mean.is_finite().then_some(mean) }
        })
        .collect();
    let height = |suspect: &Suspect| suspect.loss.unwrap_or(f64::INFINITY);
    suspects.sort_by(|a, b| height(b).total_cmp(&height(a)));
    suspects
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: GuardsConfig = GuardsConfig {
        non_finite: GuardAction::Skip,
        spike: GuardAction::Skip,
        spike_z: 4.0,
        spike_window: 8,
    };

    /// A state that has seen losses around 2.
    fn seen(count: usize) -> GuardState {
        let mut state = GuardState::default();
        for index in 0..count {
            let loss = 2.0 + 0.1 * (index % 3) as f64;
            assert_eq!(state.check(Some(&CONFIG), loss, 1.0), None);
        }
        state
    }

    #[test]
    fn a_jump_is_found_once_the_window_is_full() {
        assert_eq!(seen(7).check(Some(&CONFIG), 9.0, 1.0), None);
        let mut state = seen(20);
        assert_eq!(state.check(Some(&CONFIG), 2.4, 1.0), None, "within the usual range");
        let found = state.check(Some(&CONFIG), 9.0, 1.0).unwrap();
        assert_eq!(found.answer, GuardAction::Skip);
        assert!(
            found.z.unwrap() > 4.0 && found.problem.contains("of the 8 steps before"),
            "{found:?}"
        );
        assert_eq!(state.skipped, 1);
        assert_eq!(state.check(Some(&CONFIG), 0.0, 1.0), None, "a loss that falls is not a spike");
        assert_eq!(seen(20).check(None, 9.0, 1.0), None, "without guards no spike is found");
    }

    #[test]
    fn a_loss_that_has_moved_for_good_is_accepted() {
        let mut state = seen(20);
        let found = (0..10).filter(|_| state.check(Some(&CONFIG), 9.0, 1.0).is_some()).count();
        assert!((1..5).contains(&found), "{found} steps of ten were skipped");
    }

    #[test]
    fn what_is_no_number_is_found_whatever_the_recipe_says() {
        let found = GuardState::default().check(None, f64::NAN, 1.0).unwrap();
        assert_eq!((found.problem.as_str(), found.answer), ("the loss is NaN", GuardAction::Stop));
        let found = GuardState::default().check(Some(&CONFIG), 1.0, f64::INFINITY).unwrap();
        assert_eq!(
            (found.problem.as_str(), found.answer),
            ("the gradient norm is inf", GuardAction::Skip)
        );
    }

    #[test]
    fn a_run_that_only_skips_stops() {
        let mut state = GuardState::default();
        for _ in 0..MOST_SKIPPED_IN_A_ROW {
            assert_eq!(
                state.check(Some(&CONFIG), f64::NAN, 1.0).unwrap().answer,
                GuardAction::Skip
            );
        }
        let found = state.check(Some(&CONFIG), f64::NAN, 1.0).unwrap();
        assert_eq!(found.answer, GuardAction::Stop);
        assert!(
            found.problem.ends_with("after 20 steps in a row were skipped"),
            "{}",
            found.problem
        );
    }

    #[test]
    fn the_state_reads_back_bitwise() {
        let mut state = seen(5);
        for loss in [1.0 / 3.0, 2.0_f64.sqrt() * 1e-7, 123_456.789_012_345_67] {
            state.remember(loss, 8);
        }
        let text = serde_json::to_string(&state).unwrap();
        let again: GuardState = serde_json::from_str(&text).unwrap();
        let bits =
            |state: &GuardState| state.window.iter().map(|loss| loss.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&again), bits(&state));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (bad, key) in [
            (GuardsConfig { non_finite: GuardAction::Ignore, ..CONFIG }, "train.guards.non_finite"),
            (GuardsConfig { spike_z: 0.0, ..CONFIG }, "train.guards.spike_z"),
            (GuardsConfig { spike_window: 1, ..CONFIG }, "train.guards.spike_window"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        CONFIG.check().unwrap();
    }
}
