//! The user's examples, and the splits that the files' names say.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use indexmap::IndexMap;

use crate::{
    DataError, Dataset, Example, Notes, dataset::Files, detect::Detected, detect::split_of, read,
    split::NAMES,
};

/// Problems that a message lists.
const LISTED: usize = 3;
/// Mentions that are shown of a type.
const SHOWN: usize = 3;

/// Splits with their files.
pub(super) type NamedFiles = Vec<(&'static str, Vec<PathBuf>)>;

/// The examples of a file.
struct File {
    path: PathBuf,
    examples: Vec<Example>,
}

/// The examples of all files.
pub(super) struct Source {
    files: Vec<File>,
    pub(super) notes: Notes,
}

/// A type as the files write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) count: usize,
    /// Its most frequent mentions.
    pub(super) mentions: Vec<String>,
}

impl Source {
    /// Reads all files.
    ///
    /// # Errors
    /// [`DataError::Unusable`] with the first problems, if there are any.
    pub(super) fn read(detected: &Detected) -> Result<Self, DataError> {
        let (mut files, mut notes) = (Vec::new(), Notes::default());
        let mut problems = Vec::new();
        for path in &detected.files {
            let mut dataset = Dataset::of_file(path, detected.format.clone());
            dataset.splits["file"] = Files::One(path.clone());
            let mut items = read(&dataset, "file", "".as_ref())?;
            let mut examples = Vec::new();
            for item in items.by_ref() {
                match item {
                    Ok(example) => examples.push(example),
                    Err(error) => problems.push(error.to_string()),
                }
            }
            notes.merge(items.notes());
            files.push(File { path: path.clone(), examples });
        }
        if problems.is_empty() {
            return Ok(Self { files, notes });
        }
        let path = detected.files[0].clone();
        let message = format!(
            "the files have {} problems; correct them, or describe the format by hand \
             (docs/datasets.md): {}",
            problems.len(),
            problems[..problems.len().min(LISTED)].join(" | ")
        );
        Err(DataError::Unusable { path, message })
    }

    /// The labels by descending count.
    pub(super) fn labels(&self) -> Vec<Label> {
        let mut found: IndexMap<&str, (usize, IndexMap<&str, usize>)> = IndexMap::new();
        let examples = self.files.iter().flat_map(|file| &file.examples);
        for entity in examples.flat_map(|example| &example.entities) {
            let (count, mentions) = found.entry(&entity.entity_type).or_default();
            *count += 1;
            *mentions.entry(&entity.text).or_default() += 1;
        }
        let mut labels: Vec<Label> = found
            .into_iter()
            .map(|(label, (count, mentions))| {
                let mut mentions: Vec<(&str, usize)> = mentions.into_iter().collect();
                mentions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                let mentions = mentions.into_iter().take(SHOWN).map(|(text, _)| text.to_owned());
                Label { name: label.to_owned(), count, mentions: mentions.collect() }
            })
            .collect();
        labels.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        labels
    }

    /// The user's own splits: `None` if no file, or a single one, is named as a split.
    ///
    /// # Errors
    /// [`DataError::Unusable`] if some files are named as splits and others are not, or none is for
    /// training: test data must not become training data by mistake.
    pub(super) fn named_splits(&self) -> Result<Option<NamedFiles>, DataError> {
        let names: Vec<Option<&'static str>> =
            self.files.iter().map(|file| split_of(&file.path)).collect();
        if self.files.len() < 2 || names.iter().all(Option::is_none) {
            return Ok(None);
        }
        let refused = |path: &PathBuf, message: &str| {
            Err(DataError::Unusable { path: path.clone(), message: message.to_owned() })
        };
        if let Some(at) = names.iter().position(Option::is_none) {
            return refused(
                &self.files[at].path,
                "its name does not say its split, but those of other files do; name every file with \
                 `train`, `dev` or `test`, or give one file",
            );
        }
        if !names.contains(&Some("train")) {
            return refused(
                &self.files[0].path,
                "no file is named as training data; name one with `train`, or give one file, which is \
                 then divided",
            );
        }
        let files = |split: &str| -> Vec<PathBuf> {
            let own = self.files.iter().zip(&names).filter(|(_, name)| **name == Some(split));
            own.map(|(file, _)| file.path.clone()).collect()
        };
        let all = NAMES.into_iter().map(|split| (split, files(split)));
        Ok(Some(all.filter(|(_, files)| !files.is_empty()).collect()))
    }

    /// A remark on texts that several of the user's splits have.
    pub(super) fn overlap(&self) -> Option<String> {
        let mut first: HashMap<&str, Option<&str>> = HashMap::new();
        let mut repeated: HashSet<&str> = HashSet::new();
        for file in &self.files {
            let split = split_of(&file.path);
            for example in &file.examples {
                if *first.entry(&example.text).or_insert(split) != split {
                    repeated.insert(&example.text);
                }
            }
        }
        (!repeated.is_empty()).then(|| {
            format!(
                "{} texts are in several of your splits; scores on them are too high",
                repeated.len()
            )
        })
    }

    /// Number of examples of a split that the user named.
    pub(super) fn num_examples(&self, split: &str) -> usize {
        let own = self.files.iter().filter(|file| split_of(&file.path) == Some(split));
        own.map(|file| file.examples.len()).sum()
    }

    /// All examples. If there are several files, the id of each starts with its file's name.
    pub(super) fn into_examples(self) -> Vec<Example> {
        let several = self.files.len() > 1;
        let mut all = Vec::new();
        for File { path, examples } in self.files {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            all.extend(examples.into_iter().map(|mut example| {
                if several {
                    example.id = format!("{stem}/{}", example.id);
                }
                example
            }));
        }
        all
    }
}
