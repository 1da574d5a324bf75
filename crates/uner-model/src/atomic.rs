//! Files that are complete or absent.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a file through a temporary one next to it, `NAME.tmp`: if `write` fails, the disk is full
/// or the process dies, the previous file stays.
///
/// # Errors
/// Those of `write`, and when the file cannot be written or `path` is not a regular file.
pub fn write<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    replace(path, |unfinished| {
        let mut file = BufWriter::new(fs_err::File::create(unfinished)?);
        write(&mut file)?;
        file.flush()?;
        Ok(file.get_ref().sync_all()?)
    })
}

/// [`write`] for a `write` that creates the file itself: it receives the temporary path.
///
/// # Errors
/// As [`write`].
pub fn replace<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if fs_err::metadata(path).is_ok_and(|found| !found.is_file()) {
        let problem = format!("`{}` is not a regular file, so it is not replaced", path.display());
        return Err(io::Error::other(problem).into());
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = PathBuf::from(unfinished);
    let written = write(&unfinished).and_then(|()| Ok(fs_err::rename(&unfinished, path)?));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs_err::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        write::<io::Error>(&path, |out| out.write_all(b"whole")).unwrap();
        let failed = write(&path, |out| {
            out.write_all(b"ha")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
        let problem = write::<io::Error>(folder.path(), |_| Ok(())).unwrap_err().to_string();
        assert!(problem.contains("is not a regular file"), "{problem}");
    }
}
