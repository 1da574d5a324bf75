//! Which files of a dataset exist, and how large they are.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{Access, DataError, Dataset, List, folder, read::on_disk};

/// The state of a dataset's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The dataset.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// The benchmarks it belongs to.
    pub lists: Vec<List>,
    /// Its licence.
    pub licence: String,
    /// Who can get its files, if known.
    pub access: Option<Access>,
    /// How to get its files.
    pub obtain: String,
    /// Its splits, in the order of the description.
    pub splits: Vec<SplitStatus>,
}

/// The state of a split's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitStatus {
    /// The split.
    pub name: String,
    /// Its files, in order; none for a generated corpus.
    pub files: Vec<FileStatus>,
}

/// The state of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileStatus {
    /// The file, the folder of standoff documents, or the zip file that has this folder.
    pub path: PathBuf,
    /// Its size in bytes, with everything in a folder; `None` if it does not exist.
    pub bytes: Option<u64>,
}

/// Whether the files of a dataset exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// Every split can be read.
    Present,
    /// Some splits can be read.
    Partial,
    /// No split can be read.
    Missing,
}

impl Status {
    /// Whether all, some or no splits have all their files.
    pub fn presence(&self) -> Presence {
        let present = self.splits.iter().filter(|split| split.is_present()).count();
        match present {
            _ if present == self.splits.len() => Presence::Present,
            0 => Presence::Missing,
            _ => Presence::Partial,
        }
    }

    /// The files that do not exist, sorted.
    pub fn missing(&self) -> Vec<&Path> {
        let sizes = self.sizes().into_iter();
        sizes.filter(|(_, bytes)| bytes.is_none()).map(|(path, _)| path).collect()
    }

    /// Total bytes of the files that exist. A file that several splits share is counted once.
    pub fn bytes(&self) -> u64 {
        self.sizes().into_values().flatten().sum()
    }

    fn sizes(&self) -> BTreeMap<&Path, Option<u64>> {
        let files = self.splits.iter().flat_map(|split| &split.files);
        files.map(|file| (file.path.as_path(), file.bytes)).collect()
    }
}

impl SplitStatus {
    /// Whether all its files exist.
    pub fn is_present(&self) -> bool {
        self.files.iter().all(|file| file.bytes.is_some())
    }
}

/// Looks up the files of a dataset, as [`crate::read`] does. It reads and downloads nothing; a path
/// inside a zip file counts as present if the zip file is.
///
/// # Errors
/// [`DataError::Io`] for a folder that cannot be listed.
pub fn status(dataset: &Dataset, root: &Path) -> Result<Status, DataError> {
    let mut splits = Vec::with_capacity(dataset.splits.len());
    for name in dataset.splits.keys() {
        let paths = dataset.files(name, root)?;
        let files = paths.iter().map(|path| file_status(path));
        let files = files.collect::<Result<Vec<FileStatus>, DataError>>()?;
        splits.push(SplitStatus { name: name.clone(), files });
    }
    Ok(Status {
        name: dataset.name.clone(),
        domain: dataset.domain.clone(),
        lists: dataset.lists.clone(),
        licence: dataset.licence.clone(),
        access: dataset.access,
        obtain: dataset.obtain.clone(),
        splits,
    })
}

fn file_status(path: &Path) -> Result<FileStatus, DataError> {
    let path = on_disk(path);
    let bytes = match fs_err::metadata(&path) {
        Ok(found) if found.is_dir() => {
            let mut bytes = 0;
            for name in folder::files(&path)? {
                bytes += fs_err::metadata(path.join(name))?.len();
            }
            Some(bytes)
        }
        Ok(found) => Some(found.len()),
        Err(_) => None,
    };
    Ok(FileStatus { path, bytes })
}
