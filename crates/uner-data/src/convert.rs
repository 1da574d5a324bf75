//! Converts whole datasets from one format to another, and checks the result by reading it back.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;

use crate::{
    DataError, Dataset, Example, Examples, Notes,
    dataset::Files,
    export::{ExampleWriter, ExportFormat, Exported, Losses, Tokens, description},
    format::{Brat, Columns, Container, Format, Jsonl, LabelStudio},
    middle_cut,
    predictions::brat,
    read,
    stats::fingerprint,
    validate::Kinds,
    visible,
};

/// The name of the description in the folder of a converted dataset.
pub const DESCRIPTION: &str = "dataset.toml";

/// A converted dataset.
#[derive(Debug)]
pub struct Conversion {
    /// The description that reads it back.
    pub description: PathBuf,
    /// Its splits, by name.
    pub splits: IndexMap<String, ConvertedSplit>,
}

/// A converted split.
#[derive(Debug, Default)]
pub struct ConvertedSplit {
    /// The file, or the folder of brat documents.
    pub path: PathBuf,
    /// Number of examples written.
    pub num_examples: usize,
    /// Number of their entities.
    pub num_entities: usize,
    /// The first problems of each kind in the source. Examples with a problem are not written.
    pub problems: Vec<DataError>,
    /// Problems that are not listed: the first message of their kind, and their number.
    pub more: Vec<(String, usize)>,
    /// Data of the source that was not read exactly.
    pub notes: Notes,
    /// What the format cannot represent.
    pub losses: Losses,
    /// Examples that are not read back as they were written. There are none unless another process
    /// changed the files, or a reader or writer is wrong.
    pub differences: Vec<String>,
}

/// Converts splits of a dataset (all if `splits` is empty) to files of a format in the folder `to`,
/// beside the description [`DESCRIPTION`] that reads them. Every split is read back and compared.
///
/// The tokens of formats that have tokens are those of the source, if it has any; else they are
/// words.
///
/// ```
/// use uner_data::{DatasetRef, convert::convert, export::ExportFormat};
///
/// let source = DatasetRef::Name("demo".to_owned()).resolve()?;
/// let folder = tempfile::tempdir()?;
/// let to = folder.path().join("demo-lines");
/// let conversion = convert(&source, &["test"], "data".as_ref(), &to, ExportFormat::JsonLines)?;
/// assert!(conversion.is_complete());
/// println!("{conversion}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the source cannot be opened, `to` exists and is not an empty folder, or the files cannot be
/// written. Problems inside the source are in the result.
pub fn convert(
    source: &Dataset,
    splits: &[&str],
    root: &Path,
    to: &Path,
    format: ExportFormat,
) -> Result<Conversion, DataError> {
    let all = || source.splits.keys().map(String::as_str).collect();
    let splits: Vec<&str> = if splits.is_empty() { all() } else { splits.to_vec() };
    // Every split is opened before anything is written.
    let opened = splits.iter().map(|split| Ok((*split, read(source, split, root)?)));
    let opened = opened.collect::<Result<Vec<_>, DataError>>()?;
    if to.exists() && !(to.is_dir() && fs_err::read_dir(to)?.next().is_none()) {
        let message = "it exists already; delete it, or choose another folder".to_owned();
        return Err(DataError::Unusable { path: to.to_owned(), message });
    }
    fs_err::create_dir_all(to)?;
    let mut files = IndexMap::new();
    let mut exported = Exported::default();
    let mut written = Vec::new();
    for (split, examples) in opened {
        let name = format!("{}{}", file_stem(split), format.ending());
        let writer = ExampleWriter::create(&to.join(&name), format, Tokens::of(&source.format))?;
        let writer = writer.with_labels(exported.labels);
        let (converted, prints, last) = write(writer, split, examples)?;
        exported = last;
        files.insert(split.to_owned(), Files::One(PathBuf::from(&name)));
        written.push((split, ConvertedSplit { path: to.join(name), ..converted }, prints));
    }
    let dataset = description(source, format, files, &exported);
    let path = to.join(DESCRIPTION);
    fs_err::write(&path, dataset.to_toml()?)?;
    let mut conversion = Conversion { description: path, splits: IndexMap::new() };
    for (split, mut converted, prints) in written {
        converted.differences = differences(&dataset, split, to, &prints)?;
        conversion.splits.insert(split.to_owned(), converted);
    }
    Ok(conversion)
}

/// Id and fingerprint of an example as it should be read back.
type Print = (String, u64);

fn print(example: &Example) -> Print {
    let json = serde_json::to_string(example).expect("examples have string keys");
    (example.id.clone(), fingerprint(&json))
}

/// Writes the examples of a split.
fn write(
    mut writer: ExampleWriter,
    split: &str,
    mut examples: Examples,
) -> Result<(ConvertedSplit, Vec<Print>, Exported), DataError> {
    let (mut converted, mut prints) = (ConvertedSplit::default(), Vec::new());
    let mut kinds = Kinds::default();
    for example in examples.by_ref() {
        match example {
            Ok(example) => {
                let Some(mut written) = writer.write(&example)? else { continue };
                if written.id.is_empty() {
                    written.id = format!("{split}_{}", prints.len());
                }
                prints.push(print(&written));
            }
            Err(error) => kinds.add(error, &mut converted.problems),
        }
    }
    let exported = writer.finish()?;
    converted.more = kinds.more();
    converted.notes = examples.notes().clone();
    converted.num_examples = exported.num_examples;
    converted.num_entities = exported.num_entities;
    converted.losses = exported.losses.clone();
    Ok((converted, prints, exported))
}

/// The examples that are not read back as they should be.
fn differences(
    dataset: &Dataset,
    split: &str,
    root: &Path,
    expected: &[Print],
) -> Result<Vec<String>, DataError> {
    if expected.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut expected = expected.iter();
    for example in read(dataset, split, root)? {
        match (example, expected.next()) {
            (Ok(example), Some(written)) if print(&example) == *written => {}
            (Ok(_), Some((id, _))) => {
                found.push(format!("example `{}` is read back otherwise", visible(id)));
            }
            (Ok(example), None) => {
                found.push(format!("example `{}` was not written", visible(&example.id)));
            }
            (Err(error), _) => found.push(error.to_string()),
        }
    }
    let missing = expected.map(|(id, _)| format!("example `{}` is not read back", visible(id)));
    found.extend(missing);
    Ok(found)
}

/// The name of a split as the name of a file.
fn file_stem(split: &str) -> String {
    let is_safe = |character: char| character.is_alphanumeric() || "-_.".contains(character);
    split.chars().map(|character| if is_safe(character) { character } else { '_' }).collect()
}

impl Conversion {
    /// Whether every example was read and is read back as it was.
    pub fn is_complete(&self) -> bool {
        self.splits.values().all(|split| {
            split.problems.is_empty() && split.losses.is_empty() && split.differences.is_empty()
        })
    }
}

impl ConvertedSplit {
    fn problem_lines(&self) -> String {
        let mut lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        let more = self.more.iter().map(|(first, count)| format!("{count} more like: {first}"));
        lines.extend(more);
        lines.join("\n")
    }
}

/// The counts of each split, its problems, notes, losses and differences.
impl fmt::Display for Conversion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, split) in &self.splits {
            let (examples, entities) = (split.num_examples, split.num_entities);
            let path = split.path.display();
            writeln!(out, "{name}: {examples} examples, {entities} entities: {path}")?;
            let parts = [
                ("not read", split.problem_lines()),
                ("not read exactly", split.notes.to_string()),
                ("not represented", split.losses.to_string()),
                ("not read back", split.differences.join("\n")),
            ];
            for (title, lines) in parts.iter().filter(|(_, lines)| !lines.is_empty()) {
                writeln!(out, "  {title}:")?;
                for line in lines.lines() {
                    writeln!(out, "    {}", middle_cut(line, 400))?;
                }
            }
        }
        writeln!(out, "read it back with {}", self.description.display())
    }
}

/// A description of one file (or folder of brat documents), as the split `train`, with labels as
/// written. The name of the format is one of [`ExportFormat`], or `jsonl` for spans under
/// the default keys of [`Jsonl`].
///
/// # Errors
/// If the name is not a format; if a column file cannot be read, whose columns are detected.
pub fn described_file(path: &Path, format: &str) -> Result<Dataset, DataError> {
    let is_array = path.extension().is_some_and(|extension| extension == "json");
    let container = if is_array { Container::Array } else { Container::Lines };
    let mut described = match format {
        "jsonl" => Format::Jsonl(Jsonl::default()),
        name => {
            let format: ExportFormat = name.parse().map_err(|message| DataError::Invalid {
                dataset: path.display().to_string(),
                message,
            })?;
            format.format()
        }
    };
    match &mut described {
        Format::Columns(columns) => *columns = Columns::detect(path)?,
        Format::LabelStudio(keys) => *keys = LabelStudio::default(),
        Format::Brat(brat) if !path.join(brat::INDEX).exists() => *brat = Brat::default(),
        Format::Gliner(format) => format.container = container,
        Format::Instructuie(format) => format.container = container,
        Format::Conversations(format) => format.container = container,
        _ => {}
    }
    let mut dataset = Dataset::of_file(path, described);
    dataset.splits = IndexMap::from([("train".to_owned(), Files::One(path.to_owned()))]);
    Ok(dataset)
}

#[cfg(test)]
mod tests;
