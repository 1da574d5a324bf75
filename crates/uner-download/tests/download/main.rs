//! Downloads from a server on this machine, with its faults.

// With this, clippy allows helpers of tests to unwrap.
#![cfg(test)]

mod archives;
mod files;
mod permission;
mod resume;
mod server;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use uner_data::{Access, Dataset, Download};
use uner_download::{DownloadError, Options, Progress, Summary, download};

use server::{Reply, Seen, Server};

/// A dataset with the file `x/test.txt`, and a folder for it.
struct Case {
    dataset: Dataset,
    root: TempDir,
    options: Options,
}

impl Case {
    /// A description with the size and the checksum of `body`.
    fn new(server: &Server, body: &[u8]) -> Self {
        let mut case = Self::without_checksum(server);
        case.dataset.downloads[0].bytes = Some(body.len() as u64);
        case.dataset.downloads[0].sha256 = Some(digest(body));
        case
    }

    fn without_checksum(server: &Server) -> Self {
        let text = "name = \"x\"\nlicence = \"MIT\"\nsource = \"https://example.org/paper\"\n\
                    obtain = \"https://example.org: test.txt, as x/\"\naccess = \"free\"\n\
                    [format]\nkind = \"jsonl\"\n[splits]\ntest = \"x/test.txt\"\n";
        let mut dataset = Dataset::from_toml(text, "x").unwrap();
        dataset.downloads = vec![Download {
            url: server.url("test.txt"),
            path: Some("x/test.txt".into()),
            members: indexmap::IndexMap::default(),
            bytes: None,
            sha256: None,
        }];
        let options = Options { licence_accepted: true, timeout: Duration::from_secs(20) };
        Self { dataset, root: tempfile::tempdir().unwrap(), options }
    }

    fn run(&self) -> Result<Summary, DownloadError> {
        self.run_until(|_| false)
    }

    /// Stops at the first progress for which `is_end` holds.
    fn run_until(
        &self,
        mut is_end: impl FnMut(&Progress<'_>) -> bool,
    ) -> Result<Summary, DownloadError> {
        let mut on_progress = |progress: &Progress<'_>| {
            if is_end(progress) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        download(&self.dataset, self.root.path(), &self.options, &mut on_progress)
    }

    fn message(&self) -> String {
        self.run().unwrap_err().to_string()
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("x/test.txt")
    }

    fn part(&self) -> PathBuf {
        self.root.path().join("x/test.txt.part")
    }

    /// The file is complete, and no part is left.
    fn assert_complete(&self, body: &[u8]) {
        assert!(fs_err::read(self.path()).unwrap() == body);
        assert!(!self.part().exists());
    }
}

/// Writes a file that exists before the download.
fn write(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

/// Bytes without a period that a mistaken offset could hide in.
fn body(len: usize) -> Vec<u8> {
    (0..len as u64).map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// A faultless server of one file.
fn faultless(body: &[u8]) -> Server {
    let body = body.to_owned();
    Server::start(move |_, seen| Reply::file(seen, &body, "\"1\""))
}
