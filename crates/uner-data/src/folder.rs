//! Lists the files of a folder and of the folders in it.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use crate::DataError;

/// The visible files under `root`, relative to it and in no particular order.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let (mut names, mut left) = (Vec::new(), vec![root.to_owned()]);
    // Links may form cycles, so every folder is read once.
    let mut seen = HashSet::new();
    while let Some(folder) = left.pop() {
        if !seen.insert(fs_err::canonicalize(&folder)?) {
            continue;
        }
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            match path.strip_prefix(root) {
                Ok(name) if is_visible(name) && path.is_dir() => left.push(path),
                Ok(name) if is_visible(name) => names.push(name.to_owned()),
                _ => {}
            }
        }
    }
    Ok(names)
}

/// Whether a path is neither hidden nor a copy or lock file that an editor or a file system writes
/// beside a file.
pub(crate) fn is_visible(name: &Path) -> bool {
    name.components().all(|component| {
        let component = component.as_os_str().to_string_lossy();
        component != "__MACOSX"
            && !component.starts_with(['.', '#'])
            && !component.starts_with("~$")
    })
}
