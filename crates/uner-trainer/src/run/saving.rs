//! When a run saves its checkpoints, and the events of them.

use std::time::{Duration, Instant};

use super::{OnEvent, Run};
use crate::checkpoint::{Snapshot, Writer};
use crate::error::TrainError;
use crate::metrics::event::Event;
use crate::state::TrainState;
use crate::step::trainable::Trainable;

/// The checkpoints of a run. The newest one may not be on disk yet.
pub(crate) struct CheckpointSchedule<'a, T: Trainable> {
    run: &'a Run<'a, T>,
    writer: Writer,
    last: Instant,
    /// Whether `on_event` returned `Break` for an earlier checkpoint, unknown to the loop so far.
    stop_requested: bool,
    /// Seconds that saving has blocked the run since [`CheckpointSchedule::blocked_seconds`] was
    /// last called.
    blocked_seconds: f64,
}

impl<'a, T: Trainable> CheckpointSchedule<'a, T> {
    pub(crate) fn new(run: &'a Run<'a, T>) -> Self {
        Self {
            run,
            writer: Writer::new(run.folder, run.config.keep_last),
            last: Instant::now(),
            stop_requested: false,
            blocked_seconds: 0.0,
        }
    }

    /// Whether the run has a single rank, so that saving needs no other.
    pub(crate) fn is_single(&self) -> bool {
        self.run.group.is_single()
    }

    /// Whether a checkpoint is due by the step's number or by the clock.
    pub(crate) fn due(&self, step: u64) -> bool {
        let config = self.run.config;
        let interval =
            config.checkpoint.map(|checkpoint| Duration::from_secs_f64(60.0 * checkpoint.minutes));
        step.is_multiple_of(config.save_every)
            || step == self.run.total_steps()
            || interval.is_some_and(|interval| self.last.elapsed() >= interval)
    }

    /// Waits for the previous checkpoint, so that at most one copy exists. Then copies the run to
    /// the host and, on rank 0, starts to write it. Every rank has to call.
    pub(crate) fn save(
        &mut self,
        state: &TrainState<T>,
        on_event: &mut OnEvent,
    ) -> Result<(), TrainError> {
        let start = Instant::now();
        self.stop_requested |= self.finish(on_event)?;
        let run = self.run;
        let TrainState { model, optimizer, .. } = state;
        let masters = optimizer.precision().is_rounded_in(T::torch_dtype(run.model_config));
        let optimizer = optimizer.gathered(model, masters, run.group)?;
        let weights = model.weights(run.model_config, run.group)?;
        let state = run.checkpoint_state(state);
        let snapshot = Snapshot::take(weights, optimizer, state, run.extra_files);
        if run.group.is_main() {
            self.writer.start(snapshot);
        }
        self.last = Instant::now();
        self.blocked_seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Seconds that saving has blocked the run since the previous call.
    pub(crate) fn blocked_seconds(&mut self) -> f64 {
        std::mem::take(&mut self.blocked_seconds)
    }

    /// Emits the event of a checkpoint that has reached the disk meanwhile. Returns whether
    /// `on_event` returned `Break`, for this checkpoint or the previous one.
    ///
    /// # Errors
    /// When the checkpoint could not be written.
    pub(crate) fn emit(&mut self, on_event: &mut OnEvent) -> Result<bool, TrainError> {
        let stop_requested = std::mem::take(&mut self.stop_requested);
        Ok(stop_requested | if self.writer.is_writing() { false } else { self.finish(on_event)? })
    }

    /// Waits for the checkpoint that is being written and emits its event. Returns whether
    /// `on_event` returned `Break`.
    pub(crate) fn finish(&mut self, on_event: &mut OnEvent) -> Result<bool, TrainError> {
        match self.writer.wait()? {
            Some((step, path)) => Ok(on_event(&Event::Saved { step, path })?.is_break()),
            None => Ok(false),
        }
    }
}
