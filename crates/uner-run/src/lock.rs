//! The lock of a run's folder. The operating system releases it when the process ends, however that
//! happens.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

/// The locked file in the folder. It contains the id of the process that holds the lock.
const FILE: &str = "lock";

/// The lock of a run's folder, released on drop.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock of a run's folder.
    ///
    /// # Errors
    /// When another process holds it (the error names the process), or the file cannot be written.
    pub fn hold(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if let Ok(found) = fs_err::symlink_metadata(&path) {
            ensure!(found.is_file(), "`{}` is not a regular file; remove it", path.display());
        }
        let mut options = fs_err::OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).open(&path);
        let (mut file, _) =
            file.with_context(|| format!("`{}` cannot be used", folder.display()))?.into_parts();
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
            }
            Err(TryLockError::WouldBlock) => bail!("{}", held(folder)),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    "`{}` cannot be locked ({error}): make sure that no other run uses the folder",
                    path.display()
                );
            }
        }
        Ok(Self { _file: file })
    }
}

/// Refuses to read or change a folder while a run writes to it.
///
/// # Errors
/// When another process holds its lock; the error names the process.
pub fn refuse_in_use(folder: &Path) -> Result<()> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return Ok(());
    }
    let Ok(file) = fs_err::File::open(path) else { return Ok(()) };
    match file.file().try_lock() {
        Err(TryLockError::WouldBlock) => bail!("{}", held(folder)),
        _ => Ok(()),
    }
}

fn held(folder: &Path) -> String {
    let process = fs_err::read_to_string(folder.join(FILE)).unwrap_or_default();
    format!(
        "`{}` is in use by a run, process {process}: wait for its end, stop it (it writes a checkpoint first), or name another folder",
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        refuse_in_use(folder.path()).unwrap();
        let first = RunLock::hold(folder.path()).unwrap();
        let expected = format!("process {}:", std::process::id());
        for message in [
            RunLock::hold(folder.path()).unwrap_err().to_string(),
            refuse_in_use(folder.path()).unwrap_err().to_string(),
        ] {
            assert!(message.contains(&expected), "{message}");
        }
        drop(first);
        refuse_in_use(folder.path()).unwrap();
        RunLock::hold(folder.path()).unwrap();
    }
}
