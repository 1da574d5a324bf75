//! Events of a run, and `metrics.jsonl`: one line per event, appended when it happens.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use uner_model::atomic;
use uner_model::weights::open_regular;

use crate::error::TrainError;
use crate::metrics::timing::Breakdown;
use crate::report::GuardReport;

/// Metrics of one optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Number of the step, from 1.
    pub step: u64,
    /// Passes over the data so far.
    pub epoch: f64,
    /// Mean loss of the trained tokens, nats.
    pub loss: f64,
    /// Norm of the mean loss's gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Tokens without padding.
    pub tokens: usize,
    /// Tokens that carry loss.
    pub trained_tokens: usize,
    /// Packed rows.
    pub rows: usize,
    /// Queries dropped because the conversation is longer than a row.
    pub dropped_queries: usize,
    /// Wall time of the step, including the wait for data.
    pub seconds: f64,
    /// Wait for data, part of `seconds`.
    pub data_wait_seconds: f64,
    /// `tokens / seconds`.
    pub tokens_per_second: f64,
    /// Floating-point operations that the step needs, as [`uner_model::Flops`] counts them.
    #[serde(default)]
    pub flops: f64,
    /// Model FLOPs utilisation: `flops / seconds / ranks`, as a fraction of the peak in the
    /// device's data sheet; `null` if that is unknown.
    #[serde(default)]
    pub mfu: Option<f64>,
    /// `flops / seconds / ranks`, as a fraction of the device's measured rate of matrix products.
    #[serde(default)]
    pub matmul_utilization: Option<f64>,
    /// Bytes of memory in use after the step; on the CPU those of the process. `null` if unknown.
    #[serde(default)]
    pub memory_in_use: Option<u64>,
    /// Bytes that the device's allocator has reserved. `null` on the CPU, and if unknown.
    #[serde(default)]
    pub memory_reserved: Option<u64>,
    /// Time of each phase.
    #[serde(default)]
    pub breakdown: Breakdown,
}

/// An event of a run; as JSON, a line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A step was applied.
    Step(StepMetrics),
    /// A guard found a problem with a step. A step that is not applied has no `Step`.
    Guarded(GuardReport),
    /// The validation loss after a step.
    Validated {
        /// The step.
        step: u64,
        /// Mean loss of the trained tokens of the validation set, nats.
        loss: f64,
    },
    /// The model's score on its task after a step.
    Scored {
        /// The step.
        step: u64,
        /// From 0 to 1.
        score: f64,
        /// Duration of the scoring, in seconds.
        seconds: f64,
    },
    /// The trained model's score on each benchmark, after the last step.
    Measured {
        /// The step.
        step: u64,
        /// Scores by name, from 0 to 1.
        scores: BTreeMap<String, f64>,
    },
    /// The run stops early: its patience is exhausted.
    Stopped {
        /// The step.
        step: u64,
        /// The step of the best evaluation, if any.
        best_step: Option<u64>,
    },
    /// A checkpoint is on the disk.
    Saved {
        /// The step.
        step: u64,
        /// Its folder.
        path: PathBuf,
    },
}

/// The open file.
#[derive(Debug)]
pub struct MetricsWriter(fs_err::File);

impl MetricsWriter {
    /// Opens `metrics.jsonl` of a run for appending. First removes damaged lines, and lines of
    /// steps after `step`: a run that is killed leaves lines of steps after its last checkpoint.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(run: &Path, step: u64) -> Result<Self, TrainError> {
        let path = run.join("metrics.jsonl");
        if path.exists() {
            atomic::write::<std::io::Error>(&path, |out| {
                // Damaged lines are dropped; the others are copied unchanged.
                for line in BufReader::new(open_regular(&path)?).split(b'\n') {
                    let line = line?;
                    let event = serde_json::from_slice::<Event>(&line);
                    if event.is_ok_and(|event| event.step() <= step) {
                        out.write_all(&[&line, &b"\n"[..]].concat())?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(Self(fs_err::OpenOptions::new().create(true).append(true).open(path)?))
    }

    /// Appends an event.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn write(&mut self, event: &Event) -> Result<(), TrainError> {
        let text = serde_json::to_string(event).map_err(std::io::Error::from)?;
        writeln!(self.0, "{text}")?;
        Ok(())
    }
}

impl Event {
    /// The number of the step to which the event belongs. A `Saved` event may come later than
    /// events of later steps, because the checkpoint is written in the background.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step(metrics) => metrics.step,
            Self::Guarded(report) => report.step,
            Self::Validated { step, .. }
            | Self::Scored { step, .. }
            | Self::Measured { step, .. }
            | Self::Stopped { step, .. }
            | Self::Saved { step, .. } => *step,
        }
    }
}
