//! A profile: some steps with every op timed.

use std::time::Instant;

use uner_kernels::profile::{OpTime, record};

use super::Run;
use super::step::update;
use crate::error::TrainError;
use crate::metrics::timing::Breakdown;
use crate::state::TrainState;
use crate::step::forward_backward::on_worker_thread;
use crate::step::trainable::Trainable;

/// Steps before the measured ones, in which kernels are compiled and tuned and buffers allocated.
const WARM_UP: u64 = 2;

/// The time of a step by phase and by op, as a mean over steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Number of measured steps.
    pub steps: u64,
    /// Seconds of a step, without the wait for data.
    pub seconds: f64,
    /// Tokens of a step without padding.
    pub tokens: f64,
    /// Seconds of each phase.
    pub breakdown: Breakdown,
    /// Seconds, calls and operations of each op in one step.
    pub ops: Vec<OpTime>,
    /// Seconds outside of all ops: additions, copies, reading results, and work between ops.
    pub other: f64,
}

/// Trains some steps after a warm-up, times each op, and saves nothing. The device is synchronised
/// after each op, which makes a step on a GPU slower than in a run.
///
/// # Errors
/// As [`crate::train`].
pub fn profile<T: Trainable>(
    run: &Run<T>,
    mut state: TrainState<T>,
    steps: u64,
) -> Result<Profile, TrainError> {
    let device = state.model.device();
    let loader = run.loader();
    let mut found = Profile {
        steps,
        seconds: 0.0,
        tokens: 0.0,
        breakdown: Breakdown::default(),
        ops: Vec::new(),
        other: 0.0,
    };
    for number in 0..WARM_UP + steps {
        let data = loader.step(number);
        let (result, ops, seconds) = on_worker_thread(&device, || {
            let start = Instant::now();
            let (result, ops) = record(&device, || update(run, state, &data));
            (result, ops, start.elapsed().as_secs_f64())
        });
        let outcome;
        (state, outcome) = result?;
        if number >= WARM_UP {
            found.add(seconds, data.tokens, &outcome.breakdown, &ops);
        }
    }
    found.divide_sums();
    Ok(found)
}

impl Profile {
    fn add(&mut self, seconds: f64, tokens: usize, breakdown: &Breakdown, ops: &[OpTime]) {
        self.seconds += seconds;
        self.tokens += tokens as f64;
        self.breakdown.forward += breakdown.forward;
        self.breakdown.backward += breakdown.backward;
        self.breakdown.reduce += breakdown.reduce;
        self.breakdown.optimizer += breakdown.optimizer;
        for op in ops {
            match self.ops.iter_mut().find(|total| (total.op, total.pass) == (op.op, op.pass)) {
                Some(total) => total.add(op),
                None => self.ops.push(*op),
            }
        }
    }

    /// Divides sums by the number of steps, and sorts the ops, longest first.
    fn divide_sums(&mut self) {
        let scale = 1.0 / self.steps as f64;
        self.seconds *= scale;
        self.tokens *= scale;
        let Breakdown { forward, backward, reduce, optimizer, save: _ } = &mut self.breakdown;
        for part in [forward, backward, reduce, optimizer] {
            *part *= scale;
        }
        for op in &mut self.ops {
            op.scale(scale);
        }
        self.ops.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        self.other = self.seconds - self.ops.iter().map(|op| op.seconds).sum::<f64>();
    }
}
