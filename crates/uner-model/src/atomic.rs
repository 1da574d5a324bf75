//! Files that are complete or absent.

use std::ffi::OsStr;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use tempfile::{NamedTempFile, PersistError};

/// Writes a file through a temporary one next to it: if `write` fails, the disk is full or the
/// process dies, the previous file stays. Two processes may write the same file; the last one wins.
///
/// # Errors
/// Those of `write`, and when the file cannot be written or `path` is not a regular file.
pub fn write<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut unfinished = unfinished(path)?;
    let mut out = BufWriter::new(unfinished.as_file_mut());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    unfinished.as_file().sync_all()?;
    Ok(persist(unfinished, path)?)
}

/// [`write`] for a `write` that creates the file itself: it receives the temporary path.
///
/// # Errors
/// As [`write`].
pub fn replace<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let unfinished = unfinished(path)?;
    write(unfinished.path())?;
    Ok(persist(unfinished, path)?)
}

/// An empty file next to `path`, which is removed when it is dropped. (tempfile's own files can be
/// read by their owner only.)
fn unfinished(path: &Path) -> io::Result<NamedTempFile<fs_err::File>> {
    if fs_err::metadata(path).is_ok_and(|found| !found.is_file()) {
        let problem = format!("`{}` is not a regular file, so it is not replaced", path.display());
        return Err(io::Error::other(problem));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    tempfile::Builder::new()
        .prefix(path.file_name().unwrap_or(OsStr::new("")))
        .suffix(".tmp")
        .make_in(folder.unwrap_or(Path::new(".")), |name| fs_err::File::create_new(name))
}

fn persist(unfinished: NamedTempFile<fs_err::File>, path: &Path) -> io::Result<()> {
    unfinished.persist(path).map(drop).map_err(|PersistError { error, .. }| {
        io::Error::new(error.kind(), format!("cannot replace `{}`: {error}", path.display()))
    })
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
        let failed = replace(&path, |unfinished| {
            fs_err::write(unfinished, b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
        let problem = write::<io::Error>(folder.path(), |_| Ok(())).unwrap_err().to_string();
        assert!(problem.contains("is not a regular file"), "{problem}");
    }
}
