//! Notices that an input changes while it is read.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::plain::texts_of;
use crate::DataError;

/// The files of an input, with the size and the time of the last change of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(BTreeSet<(PathBuf, u64, Option<SystemTime>)>);

impl Stamp {
    /// The stamp of a file, of the texts of a folder, or of the standard input (`-`), which does
    /// not change.
    ///
    /// # Errors
    /// If a file does not exist or its folder cannot be read.
    pub fn of(path: &Path) -> Result<Self, DataError> {
        let files = if path == Path::new("-") {
            Vec::new()
        } else if path.is_dir() {
            texts_of(path)?.iter().map(|name| path.join(name)).collect()
        } else {
            vec![path.to_owned()]
        };
        let stamp = |file: PathBuf| {
            let found = fs_err::metadata(&file)?;
            Ok((file, found.len(), found.modified().ok()))
        };
        Ok(Self(files.into_iter().map(stamp).collect::<Result<_, DataError>>()?))
    }

    /// The first file that differs in a later stamp, or is in one of the two only.
    pub fn changed(&self, later: &Self) -> Option<PathBuf> {
        self.0.symmetric_difference(&later.0).next().map(|(path, ..)| path.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs_err::write(file("a.txt"), "one").unwrap();
        let before = Stamp::of(folder.path()).unwrap();
        assert_eq!(before.changed(&Stamp::of(folder.path()).unwrap()), None);
        fs_err::write(file("b.txt"), "two").unwrap();
        let after = Stamp::of(folder.path()).unwrap();
        assert_eq!(before.changed(&after), Some(file("b.txt")));
        assert_eq!(after.changed(&before), Some(file("b.txt")));
        let before = Stamp::of(&file("a.txt")).unwrap();
        fs_err::write(file("a.txt"), "longer").unwrap();
        assert_eq!(before.changed(&Stamp::of(&file("a.txt")).unwrap()), Some(file("a.txt")));
        assert_eq!(Stamp::of(Path::new("-")).unwrap(), Stamp(BTreeSet::new()));
        assert!(Stamp::of(&file("missing.txt")).is_err());
    }
}
