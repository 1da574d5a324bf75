//! Downloads the files of datasets that anyone can get, from the addresses of their descriptions.
//!
//! A file has its name only when it is complete and has the size and the checksum of the
//! description. Until then it is `PATH.part`, which a later download continues. A file that exists
//! is never changed. Nothing is downloaded before the caller accepts the dataset's licence.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use uner_data::DatasetRef;
//! use uner_download::{Options, download};
//!
//! let dataset = DatasetRef::Name("wnut17".to_owned()).resolve()?;
//! let options = Options { licence_accepted: true, ..Options::default() };
//! let mut on_progress = |progress: &uner_download::Progress<'_>| {
//!     eprintln!("{}: {} bytes", progress.path.display(), progress.bytes);
//!     ControlFlow::Continue(())
//! };
//! let summary = download(&dataset, "data".as_ref(), &options, &mut on_progress)?;
//! assert!(summary.missing.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod error;
mod fetch;
mod http;
mod part;
mod progress;
mod retry;
mod session;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uner_data::{Access, Dataset, registry};

pub use error::{DownloadError, Problem};
pub use progress::{Phase, Progress};

/// How to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether the user has accepted the licence of the dataset.
    pub licence_accepted: bool,
    /// Time without a byte after which an attempt is given up.
    pub timeout: Duration,
}

impl Default for Options {
    /// The licence is not accepted; 30 s.
    fn default() -> Self {
        Self { licence_accepted: false, timeout: Duration::from_secs(30) }
    }
}

/// The files after a download.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The files of the description's downloads, in its order.
    pub files: Vec<DatasetFile>,
    /// Bytes that came from servers.
    pub received: u64,
    /// Files of splits that no download of the description makes and that do not exist, sorted: the
    /// user has to get them as `obtain` and `source` of the description say.
    pub missing: Vec<PathBuf>,
}

/// A file of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetFile {
    /// Its path.
    pub path: PathBuf,
    /// Whether it is new. Otherwise it existed.
    pub is_new: bool,
    /// Whether a checksum in the description (of the file, or of the archive it is from) confirms
    /// it.
    pub is_verified: bool,
}

/// Downloads the files of a dataset that do not exist, one after the other. Paths are below the
/// folder of the description's file if it is a user's own, or else below `root`.
///
/// # Errors
/// When the dataset is not free (a description without `access` counts as free if it has
/// downloads), the licence is not accepted, a file exists with other contents, another download
/// writes the same file, a server or the disk fails, a file differs from the description, or the
/// callback stops the download ([`DownloadError::Cancelled`]).
pub fn download(
    dataset: &Dataset,
    root: &Path,
    options: &Options,
    on_progress: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Result<Summary, DownloadError> {
    dataset.check()?;
    check_permission(dataset, options)?;
    let root = dataset.folder.as_deref().unwrap_or(root);
    let mut summary = session::Session::new(dataset, root, options, on_progress).run()?;
    let status = registry::status(dataset, root)?;
    summary.missing = status.missing().into_iter().map(Path::to_owned).collect();
    Ok(summary)
}

/// Refuses datasets that not everyone can download, and those whose licence is not accepted.
fn check_permission(dataset: &Dataset, options: &Options) -> Result<(), DownloadError> {
    let (name, licence) = (dataset.name.clone(), error::licence(dataset));
    let by_hand = error::by_hand(dataset);
    match dataset.access {
        Some(access) if access != Access::Free => {
            return Err(DownloadError::NotFree { dataset: name, access, licence, by_hand });
        }
        _ if dataset.downloads.is_empty() => {
            return Err(DownloadError::NoAddress { dataset: name, licence, by_hand });
        }
        _ if options.licence_accepted => return Ok(()),
        _ => {}
    }
    Err(DownloadError::LicenceNotAccepted {
        dataset: name,
        licence,
        source_page: dataset.source.clone(),
        files: dataset.downloads.len(),
        bytes: dataset.downloads.iter().map(|download| download.bytes).sum(),
    })
}
