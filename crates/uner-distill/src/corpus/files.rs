//! The files of a subset.

use std::{
    collections::{HashMap, HashSet},
    path::{Component, Path, PathBuf},
};

use glob::MatchOptions;
use uner_data::{
    DataError,
    documents::{DocumentFormat, FolderFiles},
};

use super::SubsetConfig;
use crate::DistillError;

/// A file of a subset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CorpusFile {
    pub(super) path: PathBuf,
    /// Its path, with `/`, below the folder that the configuration names, or below the part of a
    /// pattern before the first wildcard. It does not depend on where the corpus is.
    pub(super) name: String,
    pub(super) format: DocumentFormat,
    pub(super) num_bytes: u64,
}

/// The files of a subset, sorted by name, and the paths in its folders that are not read because
/// their names do not say a format.
#[derive(Debug, Default)]
pub(super) struct SubsetFiles {
    pub(super) files: Vec<CorpusFile>,
    pub(super) ignored: Vec<PathBuf>,
}

/// Finds the files of a subset. A file that several paths name is read once.
///
/// # Errors
/// A path that does not exist, a pattern or folder without files, an unknown format, and two files
/// of one name.
pub(super) fn files(subset: &str, config: &SubsetConfig) -> Result<SubsetFiles, DistillError> {
    let key = |name: &str| format!("subsets.{subset}.{name}");
    let format: Option<DocumentFormat> = match &config.format {
        None => None,
        Some(name) => Some(name.parse().map_err(|message| DistillError::Config {
            key: key("format"),
            message: format!("is not possible: {message}"),
        })?),
    };
    let mut found = SubsetFiles::default();
    for path in &config.paths {
        let before = found.files.len();
        add(Path::new(path), format, &mut found)?;
        if found.files.len() == before {
            let message = format!("has `{path}`, which names no file of documents; correct it");
            return Err(DistillError::Config { key: key("paths"), message });
        }
    }
    let mut seen = HashSet::new();
    found.files.retain(|file| {
        seen.insert(fs_err::canonicalize(&file.path).unwrap_or_else(|_| file.path.clone()))
    });
    found.files.sort_by(|a, b| a.name.cmp(&b.name));
    let mut names: HashMap<&str, &Path> = HashMap::new();
    for file in &found.files {
        if let Some(other) = names.insert(&file.name, &file.path) {
            let message = format!(
                "has `{}` and `{}`, both of which are named `{}`; name their common folder, or a \
                 pattern that starts with it",
                other.display(),
                file.path.display(),
                file.name
            );
            return Err(DistillError::Config { key: key("paths"), message });
        }
    }
    Ok(found)
}

/// Adds what a path, a folder or a pattern names.
fn add(
    path: &Path,
    format: Option<DocumentFormat>,
    found: &mut SubsetFiles,
) -> Result<(), DistillError> {
    let text = path.to_string_lossy();
    if path.exists() || !text.contains(['*', '?', '[']) {
        let root = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        return add_path(path, root, format, found);
    }
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let unusable = |message: String| {
        DistillError::Data(DataError::Unusable { path: path.to_owned(), message })
    };
    let matches = glob::glob_with(&text, options)
        .map_err(|error| unusable(format!("it is not a pattern: {error}")))?;
    let root = fixed_part(path);
    for found_path in matches {
        let found_path = found_path.map_err(|error| DistillError::Io(error.into()))?;
        add_path(&found_path, &root, format, found)?;
    }
    Ok(())
}

/// The folders of a pattern before the first wildcard.
fn fixed_part(pattern: &Path) -> PathBuf {
    let is_fixed = |part: &Component| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    pattern.components().take_while(is_fixed).collect()
}

/// Adds a file, or all of a folder, with names below `root`.
fn add_path(
    path: &Path,
    root: &Path,
    format: Option<DocumentFormat>,
    found: &mut SubsetFiles,
) -> Result<(), DistillError> {
    if !path.is_dir() {
        let format = format.map_or_else(|| DocumentFormat::of(path), Ok)?;
        let num_bytes = fs_err::metadata(path)?.len();
        let name = name_below(path, root);
        found.files.push(CorpusFile { path: path.to_owned(), name, format, num_bytes });
        return Ok(());
    }
    let FolderFiles { mut documents, mut others } = FolderFiles::of(path)?;
    if format.is_some() {
        documents.append(&mut others);
    }
    found.ignored.extend(others.iter().map(|name| path.join(name)));
    for name in documents {
        add_path(&path.join(name), root, format, found)?;
    }
    Ok(())
}

fn name_below(path: &Path, root: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts = below.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.collect::<Vec<_>>().join("/")
}
