//! What is kept of a run while it goes on: `metrics.jsonl`, the event file of TensorBoard, the
//! conversations that guards found; and what only the program knows of a step: memory, and its
//! share of the device's speed.

use uner_kernels::device::{DeviceName, MemoryGauge};
use uner_plan::machine::{Machine, resident_memory};
use uner_prompt::Tokenizer;
use uner_trainer::TrainState;
use uner_trainer::metrics::event::{MetricsWriter, StepMetrics};
use uner_trainer::metrics::tensorboard::EventFile;
use uner_trainer::{Event, Run, TrainError};

use crate::run::guards;

/// Writes down what happens.
pub(crate) struct Monitor<'a> {
    run: Run<'a>,
    tokenizer: &'a Tokenizer,
    metrics: MetricsWriter,
    tensorboard: EventFile,
    gauge: Option<MemoryGauge>,
    machine: &'a Machine,
}

impl<'a> Monitor<'a> {
    /// Opens the files of a run that goes on from `state`.
    pub(crate) fn open(
        run: &Run<'a>,
        machine: &'a Machine,
        state: &TrainState,
        device: DeviceName,
        tokenizer: &'a Tokenizer,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            run: *run,
            tokenizer,
            metrics: MetricsWriter::open(run.folder, state.step)?,
            tensorboard: EventFile::open(run.folder, state.step)?,
            gauge: device.memory_gauge(),
            machine,
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
        let rate = metrics.flops / metrics.seconds;
        StepMetrics {
            mfu: self.machine.peak_flops.map(|peak| rate / peak),
            matmul_utilization: Some(rate / self.machine.rates.fastest()),
            memory_in_use: memory.map_or_else(resident_memory, |memory| Some(memory.in_use)),
            memory_reserved: memory.map(|memory| memory.reserved),
            ..metrics.clone()
        }
    }
}
