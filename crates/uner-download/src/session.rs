//! The downloads of one dataset: which files exist, and which are fetched or unpacked.

use std::path::{Path, PathBuf};

use uner_data::{Dataset, Download};

use crate::archive::{Member, Unpack};
use crate::error::DownloadError;
use crate::fetch::Fetch;
use crate::http::Http;
use crate::part::{Part, hash, hex};
use crate::progress::{OnProgress, Phase, Progress, emit};
use crate::{DatasetFile, Options, Summary};

/// The download of a dataset.
pub(crate) struct Session<'a> {
    dataset: &'a Dataset,
    root: &'a Path,
    http: Http,
    on_progress: &'a mut OnProgress<'a>,
    summary: Summary,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        dataset: &'a Dataset,
        root: &'a Path,
        options: &Options,
        on_progress: &'a mut OnProgress<'a>,
    ) -> Self {
        let http = Http::new(options.timeout);
        Self { dataset, root, http, on_progress, summary: Summary::default() }
    }

    pub(crate) fn run(mut self) -> Result<Summary, DownloadError> {
        for entry in &self.dataset.downloads {
            match &entry.path {
                Some(path) => self.file(entry, path)?,
                None => self.archive(entry)?,
            }
        }
        Ok(self.summary)
    }

    fn file(&mut self, entry: &Download, path: &Path) -> Result<(), DownloadError> {
        let target = self.root.join(path);
        let is_verified = entry.sha256.is_some();
        let mut is_new = false;
        if !self.exists(entry, path, &target)? {
            let part = Part::open(&target)?;
            // Another process may have completed the file before this one had the lock.
            if self.exists(entry, path, &target)? {
                part.remove()?;
            } else {
                let part = self.fetch(entry, path, part)?;
                is_new = true;
                // A user may have put the file there meanwhile.
                if self.exists(entry, path, &target)? {
                    part.remove()?;
                } else {
                    part.complete(&target)?;
                }
            }
        }
        self.summary.files.push(DatasetFile { path: target, is_new, is_verified });
        Ok(())
    }

    /// Whether the file of an entry exists.
    ///
    /// # Errors
    /// [`DownloadError::Different`] if it exists with another size or checksum.
    fn exists(
        &mut self,
        entry: &Download,
        shown: &Path,
        target: &Path,
    ) -> Result<bool, DownloadError> {
        if !target.exists() {
            return Ok(false);
        }
        let different = |found: String, expected: String| DownloadError::Different {
            path: target.to_owned(),
            url: entry.url.clone(),
            found,
            expected,
        };
        let size = fs_err::metadata(target).map_err(DownloadError::Io)?.len();
        if let Some(bytes) = entry.bytes.filter(|bytes| *bytes != size) {
            let expected = format!("`{bytes}`");
            return Err(different(format!("it has `{size}` bytes"), expected));
        }
        let Some(expected) = &entry.sha256 else { return Ok(true) };
        let mut file = fs_err::File::open(target).map_err(DownloadError::Io)?;
        let (hasher, _) = hash(&mut file, |bytes| {
            let phase = Phase::Checking;
            emit(self.on_progress, &Progress { path: shown, bytes, total: Some(size), phase })
        })?;
        let found = hex(hasher);
        if found == *expected {
            return Ok(true);
        }
        Err(different(format!("its SHA-256 is `{found}`"), format!("`{expected}`")))
    }

    fn fetch(&mut self, entry: &Download, shown: &Path, part: Part) -> Result<Part, DownloadError> {
        let mut fetch = Fetch {
            dataset: self.dataset,
            http: &self.http,
            entry,
            shown,
            on_progress: &mut *self.on_progress,
            etag: None,
            received: 0,
        };
        let part = fetch.run(part);
        self.summary.received += fetch.received;
        part
    }

    /// Fetches an archive, unpacks the members that do not exist, and removes the archive. The
    /// description has no checksums of members, so existing ones are taken as they are.
    fn archive(&mut self, entry: &Download) -> Result<(), DownloadError> {
        let targets = entry.members.iter().map(|(name, path)| (name, self.root.join(path)));
        let (old, new): (Vec<_>, Vec<_>) = targets.partition(|(_, target)| target.exists());
        if !new.is_empty() {
            let members = new.iter().map(|(name, target)| Member { name, target: target.clone() });
            self.unpack(entry, &members.collect::<Vec<_>>())?;
        }
        let is_verified = entry.sha256.is_some();
        let file = |path: PathBuf, is_new| DatasetFile { path, is_new, is_verified };
        let old = old.into_iter().map(|(_, path)| DatasetFile {
            path,
            is_new: false,
            is_verified: false,
        });
        self.summary.files.extend(old.chain(new.into_iter().map(|(_, path)| file(path, true))));
        Ok(())
    }

    fn unpack(&mut self, entry: &Download, members: &[Member<'_>]) -> Result<(), DownloadError> {
        let name = archive_name(&entry.url);
        let folder = members[0].target.parent().unwrap_or(self.root);
        let part = Part::open(&folder.join(&name))?;
        let part = self.fetch(entry, Path::new(&name), part)?;
        let root = self.root;
        let mut on_bytes = |target: &Path, bytes| {
            let path = target.strip_prefix(root).unwrap_or(target);
            let progress = Progress { path, bytes, total: None, phase: Phase::Unpacking };
            emit(self.on_progress, &progress)
        };
        let mut unpack = Unpack::new(&entry.url, part.len(), &mut on_bytes);
        match unpack.run(part.contents()?, members) {
            // A full disk or a stop leaves the archive for the next download.
            Err(error) if !matches!(error, DownloadError::Archive { .. }) => Err(error),
            result => part.remove().and(result),
        }
    }
}

/// The name of an archive at the server, with plain characters only.
fn archive_name(url: &str) -> String {
    let name = url.rsplit('/').next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}
