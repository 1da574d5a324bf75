//! Finds the format of a user's data: looks at the content of files, proposes formats, and keeps
//! those whose reader reads the files.
//!
//! ```no_run
//! let found = uner_data::detect::detect(&["annotations".into()])?;
//! println!("{}: {}", found.name, found.reason);
//! for file in &found.files {
//!     println!("  {}", file.display());
//! }
//! # Ok::<(), uner_data::DataError>(())
//! ```

mod columns;
mod json;
mod paths;
mod probe;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::{DataError, format::Format, regular};

/// The format of files, with the evidence for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    /// The format that reads all of `files`.
    pub format: Format,
    /// The format's name for people, such as `Label Studio`.
    pub name: &'static str,
    /// The content that shows the format.
    pub reason: String,
    /// The files (for brat, folders) that have the format, in the order of their paths.
    pub files: Vec<PathBuf>,
    /// Files of a folder that are left out, each with the reason.
    pub others: Vec<(PathBuf, String)>,
    /// Peculiarities that the user must decide on, such as a tag outside the scheme.
    pub notes: Vec<String>,
}

/// A format that a file may have.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    format: Format,
    name: &'static str,
    reason: String,
    notes: Vec<String>,
}

/// A file without a known format: everything that was looked at, and the closest format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Misfit {
    /// Each with its result.
    looked: Vec<String>,
    /// The closest formats, best first.
    closest: Vec<&'static str>,
}

impl Misfit {
    fn new(looked: impl Into<String>, closest: &[&'static str]) -> Self {
        Self { looked: vec![looked.into()], closest: closest.to_vec() }
    }

    fn merge(mut self, other: Self) -> Self {
        self.looked.extend(other.looked);
        self.closest.extend(other.closest);
        self
    }

    fn message(&self) -> String {
        let closest = if self.closest.is_empty() {
            "columns, `jsonl` and brat".to_owned()
        } else {
            self.closest.join(", ")
        };
        format!(
            "its format is unknown; looked at: {}; the closest formats are {closest} \
             (docs/datasets.md describes each; set `[format]` by hand)",
            self.looked.join("; ")
        )
    }
}

/// Finds the format of files, or of the files in a folder or a `.zip` archive.
///
/// All given files must have one format. In a folder, files of another format are left out, if only
/// one format has files with the name of a split, or if one format has most of the files.
///
/// # Errors
/// [`DataError::Unusable`] if no format fits, several fit, or given files differ; it lists what was
/// looked at and the closest formats. [`DataError::Io`] for files that cannot be read.
pub fn detect(paths: &[PathBuf]) -> Result<Detected, DataError> {
    match paths {
        [] => {
            Err(unusable(Path::new("."), "no files are given; name a file or a folder".to_owned()))
        }
        [path] if path.is_dir() || paths::zip_of(path).is_some() => detect_folder(path),
        _ => {
            let mut files = Vec::new();
            for path in paths {
                files.push((path.clone(), detect_file(path)?));
            }
            let mut by_format = group(files);
            if by_format.len() > 1 {
                return Err(unusable(&paths[0], ambiguous(&by_format)));
            }
            let (candidate, files) = by_format.remove(0);
            Ok(candidate.into_detected(files, Vec::new()))
        }
    }
}

/// The parts of a path's last components that name a split: `train`, `validation` or `test`.
pub(crate) use paths::split_of;

impl Candidate {
    fn into_detected(self, files: Vec<PathBuf>, others: Vec<(PathBuf, String)>) -> Detected {
        let Self { format, name, reason, notes } = self;
        Detected { format, name, reason, files, others, notes }
    }
}

fn detect_folder(path: &Path) -> Result<Detected, DataError> {
    if let Some(folders) = paths::brat_folders(path)? {
        let reason =
            format!("{} text files have an annotation file beside them", folders.num_pairs);
        let format = Format::Brat(folders.format);
        let candidate = Candidate { format, name: "brat", reason, notes: folders.notes };
        return Ok(candidate.into_detected(folders.folders, Vec::new()));
    }
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for file in paths::data_files(path)? {
        match candidate(&file)? {
            Ok(candidate) => found.push((file, candidate)),
            Err(misfit) => others.push((file, misfit.message())),
        }
    }
    let mut by_format = group(found);
    let has_split = |files: &[PathBuf]| files.iter().any(|file| split_of(file).is_some());
    let with_split = by_format.iter().filter(|(_, files)| has_split(files)).count();
    if with_split == 1 && by_format.len() > 1 {
        let at = by_format.iter().position(|(_, files)| has_split(files)).unwrap_or(0);
        by_format.swap(0, at);
    } else if by_format.len() > 1 {
        let most = |files: &[PathBuf], all: usize| 2 * files.len() > all;
        let all: usize = by_format.iter().map(|(_, files)| files.len()).sum();
        let Some(at) = by_format.iter().position(|(_, files)| most(files, all)) else {
            return Err(unusable(path, ambiguous(&by_format)));
        };
        by_format.swap(0, at);
    }
    let mut by_format = by_format.into_iter();
    let Some((candidate, files)) = by_format.next() else {
        return Err(unusable(path, nothing(path, &others)));
    };
    for (other, files) in by_format {
        let reason = format!("it has another format, {} ({})", other.name, other.reason);
        others.extend(files.into_iter().map(|file| (file, reason.clone())));
    }
    others.sort();
    Ok(candidate.into_detected(files, others))
}

fn nothing(folder: &Path, others: &[(PathBuf, String)]) -> String {
    let listed: Vec<String> = others
        .iter()
        .take(5)
        .map(|(file, reason)| {
            let name = file.strip_prefix(folder).unwrap_or(file);
            format!("`{}`: {reason}", name.display())
        })
        .collect();
    match others.len() {
        0 => "it has no files that may be annotations".to_owned(),
        number => format!("none of its {number} files has a known format: {}", listed.join(" | ")),
    }
}

fn ambiguous(by_format: &[(Candidate, Vec<PathBuf>)]) -> String {
    let listed: Vec<String> = by_format
        .iter()
        .map(|(candidate, files)| {
            let first = files[0].display();
            format!(
                "{} ({} files, such as `{first}`: {})",
                candidate.name,
                files.len(),
                candidate.reason
            )
        })
        .collect();
    format!("its files have several formats: {}; name the files of one format", listed.join("; "))
}

/// The files of each format, in the order of first occurrence. Formats that only differ in what a
/// file happens to contain (comment rows, say) are joined.
fn group(files: Vec<(PathBuf, Candidate)>) -> Vec<(Candidate, Vec<PathBuf>)> {
    let mut found: Vec<(Candidate, Vec<PathBuf>)> = Vec::new();
    for (file, candidate) in files {
        let joined = found.iter_mut().find_map(|(known, files)| {
            let format = probe::joined(&known.format, &candidate.format)?;
            Some((known, files, format))
        });
        match joined {
            Some((known, files, format)) => {
                known.format = format;
                let new = candidate.notes.into_iter().filter(|note| !known.notes.contains(note));
                known.notes.extend(new.collect::<Vec<String>>());
                files.push(file);
            }
            None => found.push((candidate, vec![file])),
        }
    }
    found
}

fn detect_file(path: &Path) -> Result<Candidate, DataError> {
    candidate(path)?.map_err(|misfit| unusable(path, misfit.message()))
}

/// The format of a file. The outer error is that of a file that cannot be read.
fn candidate(path: &Path) -> Result<Result<Candidate, Misfit>, DataError> {
    drop(regular::open(path)?);
    let mut fitting = Vec::new();
    let proposed = match json::candidates(path) {
        Ok(proposed) => Ok(proposed),
        Err(misfit) => columns::candidates(path)?.map_err(|other| misfit.merge(other)),
    };
    let mut misfit = match proposed {
        Ok(proposed) => {
            let mut misfit = Misfit::default();
            for candidate in proposed {
                match probe::probe(path, candidate)? {
                    Ok(candidate) => fitting.push(candidate),
                    Err(other) => misfit = misfit.merge(other),
                }
            }
            misfit
        }
        Err(misfit) => misfit,
    };
    match fitting.len() {
        1 => Ok(Ok(fitting.remove(0))),
        0 => Ok(Err(misfit)),
        _ => {
            let names: Vec<&str> = fitting.iter().map(|candidate| candidate.name).collect();
            misfit.looked.push(format!("it can be read as each of {}", names.join(", ")));
            misfit.closest = names;
            Ok(Err(misfit))
        }
    }
}

fn unusable(path: &Path, message: String) -> DataError {
    DataError::Unusable { path: path.to_owned(), message }
}
