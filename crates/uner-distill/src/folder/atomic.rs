//! Files that appear when they are complete.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is written under another name, and gets its own when it is on the disk. If it is
/// dropped before, nothing is left of it, and an earlier file stays.
pub(crate) struct AtomicFile {
    file: BufWriter<fs_err::File>,
    partial: PathBuf,
    path: PathBuf,
    is_complete: bool,
}

impl AtomicFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut partial = path.to_owned().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = BufWriter::with_capacity(1 << 16, fs_err::File::create(&partial)?);
        Ok(Self { file, partial, path: path.to_owned(), is_complete: false })
    }

    /// Waits until the disk has all of it. Afterwards only [`AtomicFile::publish`] is left.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }

    /// Gives the file its name.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        fs_err::rename(&self.partial, &self.path)?;
        self.is_complete = true;
        Ok(())
    }

    /// Writes a whole file.
    pub(crate) fn write_all_to(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = Self::create(path)?;
        file.write_all(bytes)?;
        file.sync()?;
        file.publish()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_complete {
            // It is a copy of what can be built again.
            let _ = fs_err::remove_file(&self.partial);
        }
    }
}
