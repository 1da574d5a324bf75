//! The time of each phase of a step.

use std::time::Instant;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// Seconds of a step by phase. The rest of the step's time is waiting for data and small work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breakdown {
    /// Embedding and blocks.
    pub forward: f64,
    /// Head and loss, which are computed together with their gradients, and the backward pass of
    /// the blocks, including the forward passes that it recomputes.
    pub backward: f64,
    /// Reduce-scatter of gradients, where it does not overlap with `backward`; 0 on a single rank.
    pub reduce: f64,
    /// Gradient norm, clipping and AdamW.
    pub optimizer: f64,
    /// Seconds that saving blocked the run since the previous step. Not part of the step's time.
    pub save: f64,
}

/// Measures work on a device, which runs asynchronously.
#[derive(Debug)]
pub(crate) struct Stopwatch<'a> {
    device: &'a Device,
    last: Instant,
}

impl<'a> Stopwatch<'a> {
    pub(crate) fn start(device: &'a Device) -> Self {
        Self { device, last: Instant::now() }
    }

    /// Waits for the device, then adds the time since the last lap to `seconds`. The wait costs as
    /// much as one kernel launch: little beside a pass over a micro-batch.
    pub(crate) fn lap(&mut self, seconds: &mut f64) {
        // An error here recurs, with a better message, when results are read.
        let _ = self.device.sync();
        let now = Instant::now();
        *seconds += (now - self.last).as_secs_f64();
        self.last = now;
    }
}
