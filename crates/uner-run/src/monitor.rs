//! Records a run: `metrics.jsonl`, TensorBoard's event file, and the conversations of steps that
//! triggered a guard. Adds memory in use, MFU and matmul utilisation to the metrics of a step.

use uner_kernels::device::{DeviceName, MemoryGauge};
use uner_plan::machine::{Machine, resident_memory};
use uner_prompt::Tokenizer;
use uner_trainer::TrainState;
use uner_trainer::metrics::event::{MetricsWriter, StepMetrics};
use uner_trainer::metrics::tensorboard::EventFile;
use uner_trainer::{Event, Run, TrainError};

use crate::guards;

/// Writes the events of a run to its files.
pub(crate) struct Monitor<'a> {
    run: Run<'a>,
    tokenizer: &'a Tokenizer,
    metrics: MetricsWriter,
    tensorboard: EventFile,
    gauge: Option<MemoryGauge>,
    machine: &'a Machine,
}

impl<'a> Monitor<'a> {
    /// Opens the files of a run that starts from `state`.
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

    /// Writes an event and returns it completed. Call it on the thread that computes: it reads the
    /// device's memory gauge.
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
        // Of one rank.
        let rate = metrics.flops / metrics.seconds / self.machine.ranks as f64;
        StepMetrics {
            mfu: self.machine.peak_flops.map(|peak| rate / peak),
            matmul_utilization: Some(rate / self.machine.rates.fastest()),
            memory_in_use: memory.map_or_else(resident_memory, |memory| Some(memory.in_use)),
            memory_reserved: memory.map(|memory| memory.reserved),
            ..metrics.clone()
        }
    }
}
