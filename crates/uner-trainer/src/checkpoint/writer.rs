//! Writes checkpoints during training: a thread for each checkpoint, one at a time.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::snapshot::Snapshot;
use super::write::{prune, save};
use crate::error::TrainError;

/// Writes a run's checkpoints and removes old ones.
#[derive(Debug)]
pub struct Writer {
    run: PathBuf,
    keep: usize,
    writing: Option<Writing>,
}

/// A checkpoint that is being written.
#[derive(Debug)]
struct Writing {
    step: u64,
    thread: JoinHandle<Result<PathBuf, TrainError>>,
}

impl Writer {
    /// A writer into the folder `run` that keeps the `keep` newest checkpoints, and the best.
    pub fn new(run: &Path, keep: usize) -> Self {
        Self { run: run.to_owned(), keep, writing: None }
    }

    /// Starts to write a checkpoint.
    ///
    /// # Panics
    /// When one is being written already: call [`Writer::wait`] first.
    pub fn start(&mut self, snapshot: Snapshot) {
        assert!(self.writing.is_none(), "a checkpoint is being written already");
        let (run, keep, step) = (self.run.clone(), self.keep, snapshot.state.step);
        let best = snapshot.state.best_tracker.best.map(|best| best.step);
        let thread = std::thread::spawn(move || {
            let path = save(&run, snapshot)?;
            prune(&path, keep, best)?;
            Ok(path)
        });
        self.writing = Some(Writing { step, thread });
    }

    /// Whether a checkpoint is being written.
    pub fn is_writing(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| !writing.thread.is_finished())
    }

    /// Waits for the checkpoint that is being written, if any, and returns its step and folder.
    ///
    /// # Errors
    /// [`TrainError::NotSaved`] when it could not be written; earlier ones are as they were.
    ///
    /// # Panics
    /// When the writing thread panicked.
    pub fn wait(&mut self) -> Result<Option<(u64, PathBuf)>, TrainError> {
        let Some(Writing { step, thread }) = self.writing.take() else { return Ok(None) };
        match thread.join() {
            Ok(Ok(path)) => Ok(Some((step, path))),
            Ok(Err(problem)) => Err(TrainError::NotSaved { step, problem: Box::new(problem) }),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
