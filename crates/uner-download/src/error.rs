//! Errors of downloads, and problems of single attempts, which are tried again.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use uner_data::{Access, DataError, Dataset};

/// A download that cannot start, or that was ended. Complete files stay, and so does an incomplete
/// one, as `PATH.part`, unless the message says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The description contradicts itself, or a folder cannot be listed.
    #[error(transparent)]
    Dataset(#[from] DataError),
    /// The publisher does not give the files to everyone.
    #[error(
        "dataset `{dataset}` cannot be downloaded: its access is `{}`, its licence `{licence}`; {by_hand}",
        .access.name()
    )]
    NotFree {
        /// The dataset.
        dataset: String,
        /// Who can get the files.
        access: Access,
        /// Its licence.
        licence: String,
        /// How to get the files.
        by_hand: String,
    },
    /// The description has no addresses of files.
    #[error(
        "dataset `{dataset}` cannot be downloaded: its description has no `[[download]]` with the address of a file (licence: `{licence}`); {by_hand}"
    )]
    NoAddress {
        /// The dataset.
        dataset: String,
        /// Its licence.
        licence: String,
        /// How to get the files.
        by_hand: String,
    },
    /// The caller has not accepted the licence.
    #[error(
        "the licence of dataset `{dataset}` is `{licence}`{}; read it, and accept it with `--accept-licence` (`Options::licence_accepted`): `{files}` files{} are then downloaded",
        at(source_page),
        size(*bytes)
    )]
    LicenceNotAccepted {
        /// The dataset.
        dataset: String,
        /// Its licence.
        licence: String,
        /// Its page, or nothing.
        source_page: String,
        /// Number of files at the publisher's addresses.
        files: usize,
        /// Their size, if the description has it.
        bytes: Option<u64>,
    },
    /// A file exists with other contents.
    #[error(
        "`{}` exists and is not the file of `{url}`: {found}, and the description has {expected}; it was not changed: move it away and download again, or use it as it is",
        .path.display()
    )]
    Different {
        /// The file.
        path: PathBuf,
        /// The address.
        url: String,
        /// Its size or checksum.
        found: String,
        /// Those of the description.
        expected: String,
    },
    /// Another process downloads the same file.
    #[error("`{}` is in use by another download; wait for its end", .0.display())]
    InUse(PathBuf),
    /// The server refused the request. Trying again would not help.
    #[error("`{url}` {problem}; {by_hand}")]
    Refused {
        /// The address.
        url: String,
        /// The status or the error.
        problem: String,
        /// How to get the files.
        by_hand: String,
    },
    /// All attempts failed.
    #[error(
        "`{url}` could not be downloaded: {problem} (attempts: `{attempts}`); download again later: `{bytes}` bytes are in `{}`",
        .part.display()
    )]
    Unreachable {
        /// The address.
        url: String,
        /// The problem of the last attempt.
        problem: Problem,
        /// Attempts since the last new byte.
        attempts: u32,
        /// The incomplete file.
        part: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The server's file has another size than the description says. Nothing of it stays.
    #[error(
        "`{url}` has {found} bytes, and the description of `{dataset}` says `{expected}`: the publisher has changed the file; it was removed. Check the new one, then change `bytes` and `sha256` of the description"
    )]
    WrongSize {
        /// The dataset.
        dataset: String,
        /// The address.
        url: String,
        /// Its size, or a lower bound.
        found: String,
        /// The size in the description.
        expected: u64,
    },
    /// The server's file has another checksum than the description says. Nothing of it stays.
    #[error(
        "`{url}` has the SHA-256 `{found}`, and the description of `{dataset}` says `{expected}`: the publisher has changed the file, or it was damaged on its way; it was removed. Download again; if that does not help, check the new file and change the description"
    )]
    WrongChecksum {
        /// The dataset.
        dataset: String,
        /// The address.
        url: String,
        /// Its checksum.
        found: String,
        /// The checksum in the description.
        expected: String,
    },
    /// The disk, or the user's quota of it, is full.
    #[error(
        "no space left for `{}`; free some and download again: finished bytes are used again",
        .0.display()
    )]
    DiskFull(PathBuf),
    /// An archive is unreadable or lacks a member. It was removed.
    #[error(
        "the archive of `{url}`: {problem}; it was removed, so correct `members` of the description, or download again"
    )]
    Archive {
        /// The address.
        url: String,
        /// The member and what is wrong with it.
        problem: String,
    },
    /// The callback ended the download.
    #[error("the download was stopped; download again to continue it")]
    Cancelled,
    /// A file cannot be read or written; the message names it.
    #[error(transparent)]
    Io(io::Error),
}

/// The problem of one attempt, which is followed by another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The server is overloaded, limits its users, or failed.
    #[error("the server returned status `{0}`")]
    Status(u16),
    /// The server demands a pause that is too long to wait for.
    #[error("the server returned status `{status}` and demands a pause of `{seconds}` s")]
    LongPause {
        /// The status.
        status: u16,
        /// The pause.
        seconds: u64,
    },
    /// No bytes came for this number of seconds.
    #[error("the server sent nothing for `{0}` s")]
    Timeout(u64),
    /// No connection, or one that ended before the file did.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// The incomplete file cannot be continued, and the next attempt starts again.
    #[error("the server cannot continue the incomplete file")]
    Range,
}

impl DownloadError {
    /// The error of a write to `path`.
    pub(crate) fn of_write(error: io::Error, path: &Path) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull(path.to_owned())
            }
            _ => Self::Io(error),
        }
    }
}

/// How a user gets the files of a dataset without this crate.
pub(crate) fn by_hand(dataset: &Dataset) -> String {
    let mut text = match dataset.obtain.as_str() {
        "" => "get the files from its publisher".to_owned(),
        obtain => format!("get the files by hand: {obtain}"),
    };
    if !dataset.source.is_empty() {
        let _ = write!(text, " (source: {})", dataset.source);
    }
    text
}

/// The licence for a message.
pub(crate) fn licence(dataset: &Dataset) -> String {
    if dataset.licence.is_empty() { "not stated".to_owned() } else { dataset.licence.clone() }
}

fn at(page: &str) -> String {
    if page.is_empty() { String::new() } else { format!(" (see {page})") }
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(String::new, |bytes| format!(" (`{bytes}` bytes)"))
}
