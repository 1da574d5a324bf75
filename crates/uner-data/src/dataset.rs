//! The description of a dataset: its source, the format of its files, and the natural-language type
//! of each label.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    DataError,
    benchmark::{Access, Download, Expected, List},
    definitions::{Definition, Definitions},
    did_you_mean,
    format::Format,
};

/// A dataset, as in `configs/datasets/*.toml` or inline in a recipe. Unknown keys are an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Its name; the name on the Universal NER benchmark if it is a member.
    pub name: String,
    /// The group it belongs to in reports, such as `biomedicine`.
    #[serde(default)]
    pub domain: String,
    /// Its paper or web address.
    #[serde(default)]
    pub source: String,
    /// Its licence.
    #[serde(default)]
    pub licence: String,
    /// How to get its files.
    #[serde(default)]
    pub obtain: String,
    /// The benchmarks it belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<List>,
    /// Who can get its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// The Hugging Face dataset with its files, as `org/name`. A file that is not under the data
    /// root is looked up in the Hub's cache, by its name without folders. Reading never downloads.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hub: String,
    /// The natural-language type of each label, in the order in which the types are asked. Required
    /// for columns and brat. Optional for other formats, whose labels are usually written for
    /// people: if absent, labels are used exactly as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<Types>,
    /// Definitions and guidelines of types, by their natural-language name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub definitions: IndexMap<String, Definition>,
    /// Labels to drop, such as `misc`; their entities are counted.
    #[serde(default)]
    pub drop: Vec<String>,
    /// The format of the files.
    pub format: Format,
    /// The files of each split, relative to the description's file if it is a user's own, or else
    /// to the data root.
    pub splits: IndexMap<String, Files>,
    /// Its sizes in the paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// Its files at their publisher's address, if anyone can download them.
    #[serde(default, rename = "download", skip_serializing_if = "Vec::is_empty")]
    pub downloads: Vec<Download>,
    /// The folder of the description's file, if it is a user's own.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
}

/// The mapping from labels to natural-language types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Types {
    /// Every label is its own type, exactly as written.
    AsWritten(AsWritten),
    /// Label → type. Several labels may share a type.
    Named(IndexMap<String, String>),
}

/// The value for [`Types::AsWritten`] in a description: `types = "as-written"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AsWritten {
    /// The only value.
    #[serde(rename = "as-written")]
    AsWritten,
}

/// The files of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Files {
    /// One file.
    One(PathBuf),
    /// Several, read in order.
    Many(Vec<PathBuf>),
}

/// The meaning of a label in a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// Its natural-language type.
    Type(&'a str),
    /// Its entities are dropped.
    Dropped,
    /// The description does not have the label, which is an error.
    Unknown,
}

impl Dataset {
    /// A description of one file, as the split `file`, with labels as written.
    pub fn of_file(path: &Path, format: Format) -> Self {
        Self {
            name: path.display().to_string(),
            domain: String::new(),
            source: String::new(),
            licence: String::new(),
            obtain: String::new(),
            lists: Vec::new(),
            access: None,
            hub: String::new(),
            types: Some(Types::AsWritten(AsWritten::AsWritten)),
            definitions: IndexMap::new(),
            drop: Vec::new(),
            format,
            splits: IndexMap::from([("file".to_owned(), Files::One(path.to_owned()))]),
            expected: None,
            downloads: Vec::new(),
            folder: None,
        }
    }

    /// Parses a description; `origin` names it in errors.
    ///
    /// # Errors
    /// [`DataError::Description`] for malformed TOML, unknown or missing keys; otherwise as
    /// [`Dataset::check`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, DataError> {
        let dataset: Self = toml::from_str(text).map_err(|error| DataError::Description {
            origin: origin.to_owned(),
            message: error.to_string(),
        })?;
        dataset.check()?;
        Ok(dataset)
    }

    /// Checks the rules that the types of the fields do not express. [`crate::read`] calls this
    /// function, too, because a description may be inline in a recipe.
    ///
    /// # Errors
    /// [`DataError::Invalid`] with the contradiction.
    pub fn check(&self) -> Result<(), DataError> {
        let invalid =
            |message: String| Err(DataError::Invalid { dataset: self.name.clone(), message });
        if self.types.is_none() && matches!(self.format, Format::Columns(_) | Format::Brat(_)) {
            return invalid(
                "`types` is missing; give each label its name in plain words (`[types]`, `PER = \"person\"`), or set \
                 `types = \"as-written\"` if the labels are such names"
                    .to_owned(),
            );
        }
        if let Some(Types::Named(named)) = &self.types {
            if let Some((label, _)) = named.iter().find(|(_, name)| name.trim().is_empty()) {
                return invalid(format!(
                    "the type of label `{label}` is empty; move the label to `drop`"
                ));
            }
            if let Some(label) = self.drop.iter().find(|label| named.contains_key(*label)) {
                return invalid(format!(
                    "label `{label}` is in `types` and in `drop`; remove it from one of them"
                ));
            }
        }
        if let Some(message) = self.definitions_problem() {
            return invalid(message);
        }
        if let Some(list) =
            self.lists.iter().enumerate().find(|(at, list)| self.lists[..*at].contains(list))
        {
            return invalid(format!("`lists` has `{}` twice; remove one", list.1.name()));
        }
        if let Some(problem) = self.downloads.iter().find_map(Download::problem) {
            return invalid(problem);
        }
        if let Format::Columns(columns) = &self.format {
            if columns.tags.is_empty() {
                return invalid("`format.tags` is empty; list the columns of the tags".to_owned());
            }
            if columns.tags.contains(&columns.token) {
                return invalid(format!(
                    "`format.token` and `format.tags` both name column `{}`",
                    columns.token
                ));
            }
            if columns.separator.is_empty() || (columns.quoted && columns.separator.len() != 1) {
                return invalid(format!(
                    "`format.separator` is `{}`; it must be `whitespace` or a string, and one character if \
                     `quoted` is set",
                    columns.separator
                ));
            }
        }
        Ok(())
    }

    /// A definition of a type that the description does not have.
    fn definitions_problem(&self) -> Option<String> {
        let Some(Types::Named(_)) = &self.types else { return None };
        let types = self.entity_types();
        let name = self.definitions.keys().find(|name| !types.contains(&name.as_str()))?;
        Some(format!(
            "`definitions` has `{name}`, which is not a type of `types`{}; write the type's name in \
             plain words, not its label",
            did_you_mean(name, types)
        ))
    }

    /// The definitions of the types.
    pub fn definitions(&self) -> Definitions {
        Definitions::new(self.definitions.iter().map(|(name, one)| (name.as_str(), one)))
    }

    /// The meaning of a label.
    pub fn meaning<'a>(&'a self, label: &'a str) -> Meaning<'a> {
        if self.drop.iter().any(|dropped| dropped == label) {
            return Meaning::Dropped;
        }
        match &self.types {
            Some(Types::Named(named)) => {
                named.get(label).map_or(Meaning::Unknown, |name| Meaning::Type(name))
            }
            Some(Types::AsWritten(_)) | None => Meaning::Type(label),
        }
    }

    /// The natural-language types in the order in which they are asked, without repetition: the
    /// closed world of the dataset. Empty if labels are used as written, since the description does
    /// not list them.
    pub fn entity_types(&self) -> Vec<&str> {
        let Some(Types::Named(named)) = &self.types else { return Vec::new() };
        let mut found: Vec<&str> = Vec::with_capacity(named.len());
        for name in named.values() {
            if !found.contains(&name.as_str()) {
                found.push(name);
            }
        }
        found
    }

    /// The paths of a split's files: in the folder of the user's own description, or else under
    /// `root`.
    ///
    /// # Errors
    /// [`DataError::UnknownSplit`].
    pub fn files(&self, split: &str, root: &Path) -> Result<Vec<PathBuf>, DataError> {
        let Some(files) = self.splits.get(split) else {
            let known: Vec<String> = self.splits.keys().map(|name| format!("`{name}`")).collect();
            return Err(DataError::UnknownSplit {
                dataset: self.name.clone(),
                split: split.to_owned(),
                known: known.join(", "),
            });
        };
        let files = match files {
            Files::One(file) => std::slice::from_ref(file),
            Files::Many(files) => files,
        };
        let root = self.folder.as_deref().unwrap_or(root);
        Ok(files.iter().map(|file| self.file(file, root)).collect())
    }

    /// The path of a file under the data root, or in the Hub's cache if it is only there.
    fn file(&self, file: &Path, root: &Path) -> PathBuf {
        let under_root = root.join(file);
        if self.hub.is_empty() || under_root.exists() {
            return under_root;
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let cached = hf_hub::Cache::from_env().dataset(self.hub.clone()).get(&name);
        cached.unwrap_or(under_root)
    }
}
