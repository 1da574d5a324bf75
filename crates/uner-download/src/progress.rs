//! Progress that the caller shows, and may answer with a stop.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use crate::error::{DownloadError, Problem};

/// The state of the file that is being downloaded. It is sent after every piece of at most 64 KiB,
/// and ten times a second while the download waits.
#[derive(Debug, Clone)]
pub struct Progress<'a> {
    /// The file below the data root. An archive has its name at the server.
    pub path: &'a Path,
    /// Bytes of the file so far, with those of an earlier download.
    pub bytes: u64,
    /// Its size, if known.
    pub total: Option<u64>,
    /// The work on it.
    pub phase: Phase<'a>,
}

/// The work on a file.
#[derive(Debug, Clone)]
pub enum Phase<'a> {
    /// Its checksum is computed from the disk.
    Checking,
    /// It is received.
    Downloading,
    /// An attempt failed, and the next one follows after a pause.
    Waiting {
        /// Why the last attempt failed.
        problem: &'a Problem,
        /// The rest of the pause.
        rest: Duration,
    },
    /// It is read from an archive.
    Unpacking,
}

/// The caller's callback.
pub(crate) type OnProgress<'a> = dyn FnMut(&Progress<'_>) -> ControlFlow<()> + 'a;

/// Sends progress.
///
/// # Errors
/// [`DownloadError::Cancelled`] if the caller stops the download.
pub(crate) fn emit(
    on_progress: &mut OnProgress<'_>,
    progress: &Progress<'_>,
) -> Result<(), DownloadError> {
    match on_progress(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(DownloadError::Cancelled),
    }
}
