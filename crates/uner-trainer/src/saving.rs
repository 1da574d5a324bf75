//! When a run saves, and what it tells of it.

use std::time::{Duration, Instant};

use crate::checkpoint::{Snapshot, Writer};
use crate::error::TrainError;
use crate::event::Event;
use crate::run::{Listen, Progress, Run};

/// The checkpoints of a run: the newest of them may still be on its way to the disk.
pub(crate) struct Saves<'a> {
    run: &'a Run<'a>,
    writer: Writer,
    last: Instant,
}

impl<'a> Saves<'a> {
    pub(crate) fn new(run: &'a Run<'a>) -> Self {
        Self { run, writer: Writer::new(run.folder, run.config.keep_last), last: Instant::now() }
    }

    /// Whether the step or the clock says that it is time.
    pub(crate) fn due(&self, step: u64) -> bool {
        let config = self.run.config;
        let pause = config.checkpoint.map(|checkpoint| Duration::from_secs_f64(60.0 * checkpoint.minutes));
        step.is_multiple_of(config.save_every)
            || step == self.run.total_steps()
            || pause.is_some_and(|pause| self.last.elapsed() >= pause)
    }

    /// Copies the run to the host and lets it be written. The checkpoint before is waited for first, so that there is
    /// never more than one copy. Answers as [`Saves::tell`].
    pub(crate) fn save(&mut self, progress: &Progress, listen: &mut Listen) -> Result<bool, TrainError> {
        let stop = self.finish(listen)?;
        let run = self.run;
        let Progress { model, optimizer, .. } = progress;
        let snapshot =
            Snapshot::take(model, run.model_config, optimizer, run.state(progress), run.companions)?;
        self.writer.start(snapshot);
        self.last = Instant::now();
        Ok(stop)
    }

    /// Tells of a checkpoint that has reached the disk meanwhile; whether the listener then asked to stop.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) fn tell(&mut self, listen: &mut Listen) -> Result<bool, TrainError> {
        if self.writer.is_writing() { Ok(false) } else { self.finish(listen) }
    }

    /// Waits for what is being written. Answers as [`Saves::tell`].
    pub(crate) fn finish(&mut self, listen: &mut Listen) -> Result<bool, TrainError> {
        match self.writer.wait()? {
            Some((step, path)) => Ok(listen(&Event::Saved { step, path })?.is_break()),
            None => Ok(false),
        }
    }
}
