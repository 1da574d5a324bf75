//! Members of a `.zip`, `.tar.gz` or `.tgz`. Only those that the description names are written,
//! each to the path that the description gives: no name in an archive decides about a path on the
//! disk.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::DownloadError;
use crate::part::{BUFFER, Part};

/// Members may have this many times the bytes of their archive, since few bytes can be made to
/// expand to a full disk. Texts have about ten times the bytes.
const MAX_EXPANSION: u64 = 100;
/// Bytes that the members of any archive may have.
const ALWAYS_ALLOWED: u64 = 64 << 20;

/// A member and the file it becomes.
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) target: PathBuf,
}

/// The unpacking of one archive.
pub(crate) struct Unpack<'a> {
    url: &'a str,
    /// Bytes that may still be written.
    allowance: u64,
    /// Gets the target and its bytes so far.
    on_bytes: &'a mut OnBytes<'a>,
}

type OnBytes<'a> = dyn FnMut(&Path, u64) -> Result<(), DownloadError> + 'a;

impl<'a> Unpack<'a> {
    /// Prepares for the archive of `url`, which has `bytes` bytes.
    pub(crate) fn new(url: &'a str, bytes: u64, on_bytes: &'a mut OnBytes<'a>) -> Self {
        Self { url, allowance: ALWAYS_ALLOWED.max(bytes * MAX_EXPANSION), on_bytes }
    }

    /// Writes the members that do not exist.
    ///
    /// # Errors
    /// [`DownloadError::Archive`] for a damaged archive, and a member that is missing, not a
    /// regular file, too large, or has a name that leaves the archive's folder.
    pub(crate) fn run(
        &mut self,
        file: fs_err::File,
        members: &[Member<'_>],
    ) -> Result<(), DownloadError> {
        if let Some(member) = members.iter().find(|member| !is_inside(member.name)) {
            let problem = "has a name that leaves the archive's folder";
            return Err(self.bad_member(member.name, problem));
        }
        match Path::new(self.url).extension().and_then(|extension| extension.to_str()) {
            Some("zip") => self.zip(file, members),
            _ => self.tar(file, members),
        }
    }

    fn zip(&mut self, file: fs_err::File, members: &[Member<'_>]) -> Result<(), DownloadError> {
        let mut archive = ZipArchive::new(file).map_err(|error| self.damaged(&error))?;
        for member in members {
            let mut entry = match archive.by_name(member.name) {
                Ok(entry) => entry,
                Err(ZipError::FileNotFound) => {
                    return Err(self.bad_member(member.name, "does not exist"));
                }
                Err(error) => return Err(self.bad_member(member.name, &error.to_string())),
            };
            if !entry.is_file() {
                return Err(self.bad_member(member.name, "is a link or a folder"));
            }
            self.write(&mut entry, member)?;
        }
        Ok(())
    }

    fn tar(&mut self, file: fs_err::File, members: &[Member<'_>]) -> Result<(), DownloadError> {
        let mut archive = tar::Archive::new(MultiGzDecoder::new(file));
        let mut missing: Vec<&Member<'_>> = members.iter().collect();
        for entry in archive.entries().map_err(|error| self.damaged(&error))? {
            let mut entry = entry.map_err(|error| self.damaged(&error))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let is_named = |member: &&Member<'_>| plain(member.name) == plain(&name);
            let Some(index) = missing.iter().position(is_named) else { continue };
            let member = missing.swap_remove(index);
            if !entry.header().entry_type().is_file() {
                return Err(self.bad_member(member.name, "is a link or a folder"));
            }
            self.write(&mut entry, member)?;
            if missing.is_empty() {
                break;
            }
        }
        match missing.first() {
            Some(member) => Err(self.bad_member(member.name, "does not exist")),
            None => Ok(()),
        }
    }

    fn write(&mut self, entry: &mut dyn Read, member: &Member<'_>) -> Result<(), DownloadError> {
        let mut part = Part::open(&member.target)?;
        part.restart()?;
        let mut buffer = vec![0; BUFFER];
        let result = loop {
            let read = match entry.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => read,
                Err(error) => break Err(self.bad_member(member.name, &error.to_string())),
            };
            if read as u64 > self.allowance {
                break Err(self.bad_member(member.name, "is too large for such an archive"));
            }
            self.allowance -= read as u64;
            let written = part.append(&buffer[..read]);
            if let Err(error) = written.and_then(|()| (self.on_bytes)(&member.target, part.len())) {
                break Err(error);
            }
        };
        // The archive is still there, so nothing is lost.
        match result {
            Ok(()) if !member.target.exists() => part.complete(&member.target),
            result => part.remove().and(result),
        }
    }

    fn bad_member(&self, name: &str, problem: &str) -> DownloadError {
        let problem = format!("its member `{name}` {problem}");
        DownloadError::Archive { url: self.url.to_owned(), problem }
    }

    fn damaged(&self, error: &dyn std::error::Error) -> DownloadError {
        let problem = format!("it is damaged: {error}");
        DownloadError::Archive { url: self.url.to_owned(), problem }
    }
}

/// Whether a name has only plain components, on any system.
fn is_inside(name: &str) -> bool {
    let mut components = Path::new(plain(name)).components();
    !name.contains(['\\', '\0'])
        && !name.split('/').any(|part| part == ".." || part.ends_with(':'))
        && components.all(|component| matches!(component, Component::Normal(_)))
}

/// A name without the `./` that `tar` writes in front of names.
fn plain(name: &str) -> &str {
    name.strip_prefix("./").unwrap_or(name)
}

#[cfg(test)]
mod tests;
