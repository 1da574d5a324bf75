//! Where the time of a step goes.

use std::time::Instant;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// Seconds of a step by what was done in them. What is missing to the step's time is waiting for
/// data and everything small.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breakdown {
    /// Embedding and blocks.
    pub forward: f64,
    /// The head with its loss, whose gradient is formed with it, and the blocks backward, with the
    /// forward pass of those that did not keep their graph.
    pub backward: f64,
    /// Adding up losses and gradients over devices; 0 on one.
    pub reduce: f64,
    /// Gradient norm, clipping and AdamW.
    pub optimizer: f64,
    /// How long saving held the run up since the step before. Not part of the step's time.
    pub save: f64,
}

/// Measures what runs on a device, which may be behind.
#[derive(Debug)]
pub(crate) struct Stopwatch<'a> {
    device: &'a Device,
    last: Instant,
}

impl<'a> Stopwatch<'a> {
    pub(crate) fn start(device: &'a Device) -> Self {
        Self { device, last: Instant::now() }
    }

    /// Adds the time since the last lap to `seconds`, once the device has done all it was given.
    /// That it waits here costs the launch of one kernel: little beside a pass over a micro-batch.
    pub(crate) fn lap(&mut self, seconds: &mut f64) {
        // What fails here fails again, with a better message, where results are read.
        let _ = self.device.sync();
        let now = Instant::now();
        *seconds += (now - self.last).as_secs_f64();
        self.last = now;
    }
}
