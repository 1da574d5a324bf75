//! What is kept of a run while it goes on: `metrics.jsonl`, the event file of TensorBoard, the
//! conversations that guards found; and what only the program knows of a step: memory, and its
//! share of the device's speed.

use anyhow::Result;
use burn::tensor::Device;
use uner_kernels::device::{DeviceName, MemoryGauge};
use uner_prompt::Tokenizer;
use uner_trainer::Progress;
use uner_trainer::metrics::event::{MetricsWriter, StepMetrics};
use uner_trainer::metrics::tensorboard::EventFile;
use uner_trainer::{Event, Run, TrainError};

use crate::guards;
use crate::rate::matmul_rate;

/// Writes down what happens.
pub(crate) struct Monitor<'a> {
    run: Run<'a>,
    tokenizer: &'a Tokenizer,
    metrics: MetricsWriter,
    tensorboard: EventFile,
    gauge: Option<MemoryGauge>,
    /// Floating-point operations a second of the device's matrix product.
    rate: f64,
}

impl<'a> Monitor<'a> {
    /// Opens the files of a run that goes on from `progress`, and measures the device.
    pub(crate) fn open(
        run: &Run<'a>,
        progress: &Progress,
        (name, device): (DeviceName, &Device),
        tokenizer: &'a Tokenizer,
    ) -> Result<Self, TrainError> {
        let rate = matmul_rate(progress.model.held(), device);
        tracing::info!(
            "the device multiplies matrices at {:.3} TFLOP/s, which MFU is a share of",
            rate / 1e12
        );
        Ok(Self {
            run: *run,
            tokenizer,
            metrics: MetricsWriter::open(run.folder, progress.step)?,
            tensorboard: EventFile::open(run.folder, progress.step)?,
            gauge: name.memory_gauge(),
            rate,
        })
    }

    /// Writes an event down and returns it with what was added. To be called on the thread that
    /// computes.
    pub(crate) fn write(&mut self, event: &Event) -> Result<Event, TrainError> {
        let event = match event {
            Event::Step(metrics) => Event::Step(self.completed(metrics)),
            other => other.clone(),
        };
        if let Event::Guarded(report) = &event {
            guards::write(&self.run, self.tokenizer, report)?;
        }
        self.metrics.write(&event)?;
        self.tensorboard.write(&event)?;
        Ok(event)
    }

    fn completed(&self, metrics: &StepMetrics) -> StepMetrics {
        let memory = self.gauge.as_ref().map(|read| read());
        StepMetrics {
            mfu: Some(metrics.flops / metrics.seconds / self.rate),
            memory_in_use: memory.map_or_else(resident, |memory| Some(memory.in_use)),
            memory_reserved: memory.map(|memory| memory.reserved),
            ..metrics.clone()
        }
    }
}

/// Bytes of this process that are in memory; `None` where there is no `/proc`.
fn resident() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
