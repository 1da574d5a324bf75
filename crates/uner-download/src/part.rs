//! A file that is being written: `PATH.part`, which becomes `PATH` when it is complete.

use std::fs::TryLockError;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::DownloadError;

/// Bytes that are read or written at a time.
pub(crate) const BUFFER: usize = 1 << 16;

/// The locked file, and the checksum of its contents so far. The operating system releases the lock
/// when the file is closed, however that happens.
pub(crate) struct Part {
    path: PathBuf,
    file: fs_err::File,
    hasher: Sha256,
    len: u64,
}

impl Part {
    /// Opens or creates the incomplete file of `target`, with its folders.
    ///
    /// # Errors
    /// [`DownloadError::InUse`] if another process or thread writes it.
    pub(crate) fn open(target: &Path) -> Result<Self, DownloadError> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let path = target.with_file_name(name);
        let on_error = |error| DownloadError::of_write(error, &path);
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder).map_err(on_error)?;
        }
        loop {
            let mut options = fs_err::OpenOptions::new();
            let options = options.create(true).truncate(false).read(true).write(true);
            let file = options.open(&path).map_err(on_error)?;
            match file.file().try_lock() {
                Err(TryLockError::WouldBlock) => return Err(DownloadError::InUse(path)),
                // Some file systems have no locks.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            // Between the two calls, another process may have completed or removed the file: then
            // this is not an incomplete file any more.
            if is_at(&file, &path) {
                let len = file.metadata().map_err(on_error)?.len();
                return Ok(Self { path, file, hasher: Sha256::new(), len });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// SHA-256 of the contents, in hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        hex(self.hasher.clone())
    }

    /// Reads the contents that an earlier download has left, for the checksum. `on_bytes` gets the
    /// number of bytes so far.
    pub(crate) fn read_earlier(
        &mut self,
        on_bytes: impl FnMut(u64) -> Result<(), DownloadError>,
    ) -> Result<(), DownloadError> {
        self.file.rewind().map_err(DownloadError::Io)?;
        (self.hasher, self.len) = hash(&mut self.file, on_bytes)?;
        Ok(())
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| DownloadError::of_write(error, &self.path))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Removes the contents.
    pub(crate) fn restart(&mut self) -> Result<(), DownloadError> {
        if self.len > 0 {
            self.file.set_len(0).map_err(DownloadError::Io)?;
        }
        self.file.rewind().map_err(DownloadError::Io)?;
        (self.hasher, self.len) = (Sha256::new(), 0);
        Ok(())
    }

    /// The file, to read it from its start.
    pub(crate) fn contents(&self) -> Result<fs_err::File, DownloadError> {
        fs_err::File::open(&self.path).map_err(DownloadError::Io)
    }

    /// Gives the complete file its name. After a crash, the name has all bytes or does not exist.
    pub(crate) fn complete(self, target: &Path) -> Result<(), DownloadError> {
        let done = self.file.sync_all().and_then(|()| fs_err::rename(&self.path, target));
        done.and_then(|()| sync_folder(target)).map_err(DownloadError::Io)
    }

    pub(crate) fn remove(self) -> Result<(), DownloadError> {
        fs_err::remove_file(&self.path).map_err(DownloadError::Io)
    }
}

/// Whether `path` still names this open file.
fn is_at(file: &fs_err::File, path: &Path) -> bool {
    let opened = file.file().try_clone().and_then(same_file::Handle::from_file);
    opened.is_ok_and(|opened| same_file::Handle::from_path(path).is_ok_and(|at| at == opened))
}

/// Makes the new name of a file last. Only Unix opens folders.
fn sync_folder(target: &Path) -> io::Result<()> {
    match target.parent() {
        Some(folder) if cfg!(unix) => fs_err::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Reads a file to its end, in pieces. Returns the state of its checksum and its size.
pub(crate) fn hash(
    file: &mut fs_err::File,
    mut on_bytes: impl FnMut(u64) -> Result<(), DownloadError>,
) -> Result<(Sha256, u64), DownloadError> {
    let (mut hasher, mut len, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let read = file.read(&mut buffer).map_err(DownloadError::Io)?;
        if read == 0 {
            return Ok((hasher, len));
        }
        hasher.update(&buffer[..read]);
        len += read as u64;
        on_bytes(len)?;
    }
}

pub(crate) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_one_writer_and_becomes_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b.txt");
        let mut part = Part::open(&target).unwrap();
        assert!(matches!(Part::open(&target), Err(DownloadError::InUse(_))));
        part.append(b"abc").unwrap();
        drop(part);
        let mut part = Part::open(&target).unwrap();
        part.read_earlier(|_| Ok(())).unwrap();
        part.append(b"d").unwrap();
        // sha256sum of `abcd`
        let digest = "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589";
        assert_eq!((part.len(), part.digest().as_str()), (4, digest));
        part.complete(&target).unwrap();
        assert_eq!(fs_err::read(&target).unwrap(), b"abcd");
        assert_eq!(Part::open(&target).unwrap().len(), 0);
    }

    #[test]
    fn a_file_that_was_moved_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let file = fs_err::File::create(&old).unwrap();
        assert!(is_at(&file, &old));
        fs_err::rename(&old, new).unwrap();
        assert!(!is_at(&file, &old));
        fs_err::write(&old, "").unwrap();
        assert!(!is_at(&file, &old));
    }
}
