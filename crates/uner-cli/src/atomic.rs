//! Files that are there whole or not at all.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// Writes a file by way of a temporary one beside it: when `write` fails, the disk is full, or the
/// process dies, what was at `path` before stays.
pub(crate) fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    replace(path, |unfinished| fill(unfinished, write))
}

/// [`write`] where `write` is told the temporary path and makes the file itself.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let is_other = fs_err::metadata(path).is_ok_and(|found| !found.is_file());
    ensure!(!is_other, "`{}` is not a regular file, and is not replaced by one", path.display());
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = PathBuf::from(unfinished);
    let written = write(&unfinished).and_then(|()| Ok(fs_err::rename(&unfinished, path)?));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs_err::remove_file(&unfinished);
    }
    written
}

fn fill(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut file = BufWriter::new(fs_err::File::create(path)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::write;

    #[test]
    fn what_fails_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        write(&path, |out| Ok(out.write_all(b"whole")?)).unwrap();
        let failed = write(&path, |out| {
            out.write_all(b"ha")?;
            anyhow::bail!("no more")
        });
        assert!(failed.is_err());
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }
}
