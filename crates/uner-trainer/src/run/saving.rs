//! When a run saves, and what it tells of it.

use std::time::{Duration, Instant};

use super::{Listen, Run};
use crate::checkpoint::{Snapshot, Writer};
use crate::error::TrainError;
use crate::metrics::event::Event;
use crate::state::Progress;

/// The checkpoints of a run: the newest of them may still be on its way to the disk.
pub(crate) struct Saves<'a> {
    run: &'a Run<'a>,
    writer: Writer,
    last: Instant,
    /// Whether the listener asked to stop when it was told of a checkpoint, and nobody knows yet.
    asked: bool,
    /// Seconds that saving has held the run up since the last step.
    held_up: f64,
}

impl<'a> Saves<'a> {
    pub(crate) fn new(run: &'a Run<'a>) -> Self {
        Self {
            run,
            writer: Writer::new(run.folder, run.config.keep_last),
            last: Instant::now(),
            asked: false,
            held_up: 0.0,
        }
    }

    /// Whether no other rank has to take part.
    pub(crate) fn is_alone(&self) -> bool {
        self.run.group.is_alone()
    }

    /// Whether the step or the clock says that it is time.
    pub(crate) fn due(&self, step: u64) -> bool {
        let config = self.run.config;
        let pause =
            config.checkpoint.map(|checkpoint| Duration::from_secs_f64(60.0 * checkpoint.minutes));
        step.is_multiple_of(config.save_every)
            || step == self.run.total_steps()
            || pause.is_some_and(|pause| self.last.elapsed() >= pause)
    }

    /// Copies the run to the host and, on the first rank, lets it be written. The checkpoint before
    /// is waited for first, so that there is never more than one copy.
    pub(crate) fn save(
        &mut self,
        progress: &Progress,
        listen: &mut Listen,
    ) -> Result<(), TrainError> {
        let start = Instant::now();
        self.asked |= self.finish(listen)?;
        let run = self.run;
        let Progress { model, optimizer, .. } = progress;
        let masters = optimizer.policy().is_rounded_in(&run.model_config.torch_dtype);
        let optimizer = optimizer.gathered(model, masters, run.group)?;
        let state = run.state(progress);
        let snapshot = Snapshot::take(
            (model, run.group),
            run.model_config,
            optimizer,
            state,
            run.extra_files,
        )?;
        if run.group.is_first() {
            self.writer.start(snapshot);
        }
        self.last = Instant::now();
        self.held_up += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Seconds that saving has held the run up since this was asked before.
    pub(crate) fn held_up(&mut self) -> f64 {
        std::mem::take(&mut self.held_up)
    }

    /// Tells of a checkpoint that has reached the disk meanwhile; whether the listener has asked to
    /// stop, then or when it was told of the one before.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) fn tell(&mut self, listen: &mut Listen) -> Result<bool, TrainError> {
        let asked = std::mem::take(&mut self.asked);
        Ok(asked | if self.writer.is_writing() { false } else { self.finish(listen)? })
    }

    /// Waits for what is being written and tells of it; whether the listener then asked to stop.
    pub(crate) fn finish(&mut self, listen: &mut Listen) -> Result<bool, TrainError> {
        match self.writer.wait()? {
            Some((step, path)) => Ok(listen(&Event::Saved { step, path })?.is_break()),
            None => Ok(false),
        }
    }
}
