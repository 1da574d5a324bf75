//! `--profile`: some steps with every op timed.

use std::time::Instant;

use uner_kernels::profile::{OpTime, record};

use super::Run;
use super::step::update;
use crate::error::TrainError;
use crate::metrics::timing::Breakdown;
use crate::state::Progress;
use crate::step::forward_backward::beside_the_kernels;

/// Steps before those that are measured: kernels are compiled and tuned in them, buffers allocated.
const WARM_UP: u64 = 2;

/// Where the time of a step goes, as a mean over steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Steps measured.
    pub steps: u64,
    /// Seconds of a step, waiting for data left out.
    pub seconds: f64,
    /// Tokens of a step without padding.
    pub tokens: f64,
    /// Where they go, by part of the step.
    pub breakdown: Breakdown,
    /// Where they go, by op; seconds, calls and operations of one step.
    pub ops: Vec<OpTime>,
    /// Seconds that are in no op: additions, copies, reading results, and what happens between ops.
    pub other: f64,
}

/// Trains some steps after a warm-up, each op waited for and timed, and saves nothing. That ops are
/// waited for makes a step on a GPU slower than it is in a run.
///
/// # Errors
/// As [`crate::train`].
pub fn profile(run: &Run, mut progress: Progress, steps: u64) -> Result<Profile, TrainError> {
    let device = progress.model.device();
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
        let (result, ops, seconds) = beside_the_kernels(&device, || {
            let start = Instant::now();
            let (result, ops) = record(&device, || update(run, progress, &data));
            (result, ops, start.elapsed().as_secs_f64())
        });
        let outcome;
        (progress, outcome) = result?;
        if number >= WARM_UP {
            found.add(seconds, data.tokens, &outcome.breakdown, &ops);
        }
    }
    found.divide();
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
            match self.ops.iter_mut().find(|known| (known.op, known.pass) == (op.op, op.pass)) {
                Some(known) => known.add(op),
                None => self.ops.push(*op),
            }
        }
    }

    /// Sums to means; the longest op first.
    fn divide(&mut self) {
        let share = 1.0 / self.steps as f64;
        self.seconds *= share;
        self.tokens *= share;
        let Breakdown { forward, backward, reduce, optimizer, save: _ } = &mut self.breakdown;
        for part in [forward, backward, reduce, optimizer] {
            *part *= share;
        }
        for op in &mut self.ops {
            op.scale(share);
        }
        self.ops.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        self.other = self.seconds - self.ops.iter().map(|op| op.seconds).sum::<f64>();
    }
}
