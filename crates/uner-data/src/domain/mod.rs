//! Sets up fine-tuning on a user's own annotations: looks at the files, divides them, and writes a
//! folder with a commented description and commented recipes that the user reads and corrects.
//!
//! ```no_run
//! use uner_data::domain::{InitOptions, init_domain};
//!
//! let files = ["export.jsonl".into()];
//! let report = init_domain(&files, "my-domain".as_ref(), &InitOptions::default())?;
//! println!("{report}");
//! # Ok::<(), uner_data::DataError>(())
//! ```

mod describe;
mod recipe;
mod source;
#[cfg(test)]
mod tests;
mod words;

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{
    DataError, Notes,
    detect::{Detected, detect},
    format::Format,
    split::{NAMES, SplitConfig, SplitReport, split_examples, write_splits},
    visible,
};
use recipe::Recipes;
use source::Source;

const DESCRIPTION: &str = "dataset.toml";
const RECIPE: &str = "recipe.toml";
const BEFORE: &str = "evaluate-before.toml";

/// What the user may set.
#[derive(Debug, Clone, PartialEq)]
pub struct InitOptions {
    /// Name of the dataset; by default the name of the folder.
    pub name: Option<String>,
    /// The format of the files; by default it is detected.
    pub format: Option<Format>,
    /// How the examples are divided, if the files are not splits. If there are several files, the
    /// id of an example starts with its file's name and `/`, so `GroupBy::IdPrefix("/")` keeps the
    /// examples of a file together.
    pub split: SplitConfig,
    /// The model that the recipe trains: a folder or `hf:org/name`.
    pub weights: String,
    /// A dataset that the recipe also trains on, against forgetting; empty for none.
    pub replay: String,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            name: None,
            format: None,
            split: SplitConfig::default(),
            weights: "models/base".to_owned(),
            replay: "pile-ner-type".to_owned(),
        }
    }
}

/// The written folder.
#[derive(Debug, Clone, PartialEq)]
pub struct InitReport {
    /// The format of the user's files, with the reason and the files that are left out.
    pub detected: Detected,
    /// The splits: `train` and others, with the user's files or the written ones.
    pub splits: Vec<(&'static str, Vec<PathBuf>)>,
    /// The sizes of the splits that were made; `None` if the user's splits are kept.
    pub sizes: Option<SplitReport>,
    /// Types with their number of mentions, by descending number.
    pub types: Vec<(String, usize)>,
    /// The written files.
    pub written: Vec<PathBuf>,
    /// Data that was read, but not exactly.
    pub notes: Notes,
    /// Further facts that the user should know.
    pub remarks: Vec<String>,
}

/// Writes a folder for fine-tuning on the user's files: splits, `dataset.toml`, `recipe.toml` and
/// `evaluate-before.toml`. If the files are named as splits, they are kept where they are.
///
/// # Errors
/// As [`detect`] and [`split_examples`]; [`DataError::Unusable`] if a file of the folder exists
/// already (no file is overwritten), if only some files are named as splits, or if the folder is
/// called `recipes`; and the first problems of the data.
pub fn init_domain(
    paths: &[PathBuf],
    folder: &Path,
    options: &InitOptions,
) -> Result<InitReport, DataError> {
    let name = name(folder, options)?;
    refuse_existing(folder)?;
    let detected = found(paths, options)?;
    let source = Source::read(&detected)?;
    let labels = source.labels();
    let mut report = InitReport {
        types: labels.iter().map(|label| (label.name.clone(), label.count)).collect(),
        notes: source.notes.clone(),
        remarks: detected.notes.clone(),
        splits: Vec::new(),
        sizes: None,
        written: Vec::new(),
        detected,
    };
    let (format, num_train) = match source.named_splits()? {
        Some(splits) => {
            report.remarks.extend(source.overlap());
            report.splits = splits;
            fs_err::create_dir_all(folder)?;
            (report.detected.format.clone(), source.num_examples(NAMES[0]))
        }
        None => split_source(source, folder, options, &mut report)?,
    };
    let description = describe::description(&name, &labels, &format, &report.splits, folder)?;
    write_new(folder, DESCRIPTION, &description, &mut report)?;
    let names: Vec<&str> = report.splits.iter().map(|(name, _)| *name).collect();
    let recipes = Recipes { name: &name, splits: &names, num_train, options };
    write_new(folder, RECIPE, &recipes.training(), &mut report)?;
    write_new(folder, BEFORE, &recipes.evaluation(), &mut report)?;
    Ok(report)
}

/// Divides the examples and writes the splits. Returns the format of the written files and the
/// number of training examples.
fn split_source(
    source: Source,
    folder: &Path,
    options: &InitOptions,
    report: &mut InitReport,
) -> Result<(Format, usize), DataError> {
    let splits = split_examples(source.into_examples(), &options.split)?;
    fs_err::create_dir_all(folder)?;
    let files = write_splits(&splits, folder)?;
    report.written.extend(files.files.iter().map(|(_, path)| path.clone()));
    report.splits = files.files.into_iter().map(|(name, path)| (name, vec![path])).collect();
    report.sizes = Some(splits.report());
    Ok((files.format, splits.examples[0].len()))
}

/// The format and the files: as the user says, or detected.
fn found(paths: &[PathBuf], options: &InitOptions) -> Result<Detected, DataError> {
    let Some(format) = &options.format else { return detect(paths) };
    Ok(Detected {
        format: format.clone(),
        name: "given",
        reason: "the format was given".to_owned(),
        files: paths.to_vec(),
        others: Vec::new(),
        notes: Vec::new(),
    })
}

/// The dataset's name.
fn name(folder: &Path, options: &InitOptions) -> Result<String, DataError> {
    let absolute = std::path::absolute(folder)?;
    let last = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if last == "recipes" {
        let message = "paths of a recipe in a folder called `recipes` are relative to the folder \
                       around it; choose another name"
            .to_owned();
        return Err(DataError::Unusable { path: folder.to_owned(), message });
    }
    Ok(options.name.clone().unwrap_or(last))
}

/// Refuses a folder with any of the files, before anything is written.
fn refuse_existing(folder: &Path) -> Result<(), DataError> {
    let splits = NAMES.map(|name| format!("{name}.jsonl"));
    let files = [DESCRIPTION, RECIPE, BEFORE].into_iter().chain(splits.iter().map(String::as_str));
    match files.map(|file| folder.join(file)).find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => {
            let message =
                "it exists already, and nothing is overwritten; choose another folder, or \
                           move the file"
                    .to_owned();
            Err(DataError::Unusable { path, message })
        }
    }
}

fn write_new(
    folder: &Path,
    name: &str,
    text: &str,
    report: &mut InitReport,
) -> Result<(), DataError> {
    let path = folder.join(name);
    fs_err::File::create_new(&path)?.write_all(text.as_bytes())?;
    report.written.push(path);
    Ok(())
}

/// What was found and written, for a terminal.
impl fmt::Display for InitReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Detected { name, reason, others, .. } = &self.detected;
        writeln!(out, "format: {name} ({})", visible(reason))?;
        for (file, reason) in others {
            writeln!(out, "left out: {} ({})", file.display(), visible(reason))?;
        }
        let mentions: usize = self.types.iter().map(|(_, count)| count).sum();
        writeln!(out, "{} types, {mentions} mentions", self.types.len())?;
        match &self.sizes {
            Some(report) => write!(out, "\n{report}")?,
            None => {
                for (name, files) in &self.splits {
                    let files: Vec<String> =
                        files.iter().map(|file| file.display().to_string()).collect();
                    writeln!(out, "{name}: {}", files.join(", "))?;
                }
            }
        }
        let notes = self.notes.to_string();
        let mut notes = notes.lines().map(str::to_owned).chain(self.remarks.iter().cloned());
        notes.try_for_each(|note| writeln!(out, "note: {}", visible(&note)))?;
        writeln!(out, "\nwritten:")?;
        self.written.iter().try_for_each(|path| writeln!(out, "  {}", path.display()))
    }
}
