//! Finds datasets: the descriptions in `configs/datasets/*.toml`, which are built into the binary,
//! and a user's own files. Says which files of a dataset exist.

mod status;

use std::{fmt, path::Path};

use include_dir::{Dir, include_dir};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

pub use status::{FileStatus, Presence, SplitStatus, Status, status};

use crate::{DataError, Dataset, List, did_you_mean, regular};

static BUILTIN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/datasets");

/// The names of the built-in datasets, sorted.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = BUILTIN
        .files()
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "toml"))
        .filter_map(|file| file.path().file_stem()?.to_str())
        .collect();
    names.sort_unstable();
    names
}

/// Finds a built-in dataset by its name, or a user's own by the path of its `.toml` file.
///
/// # Errors
/// [`DataError::UnknownDataset`] with the nearest name, [`DataError::Io`] for a file that cannot be
/// read, and those of [`Dataset::from_toml`].
pub fn find(name: &str) -> Result<Dataset, DataError> {
    if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
        let mut dataset =
            Dataset::from_toml(&regular::read_to_string(&std::path::absolute(name)?)?, name)?;
        dataset.folder = Path::new(name).parent().map(Path::to_owned);
        return Ok(dataset);
    }
    let Some(text) = BUILTIN.get_file(format!("{name}.toml")).and_then(|file| file.contents_utf8())
    else {
        return Err(DataError::UnknownDataset {
            name: name.to_owned(),
            hint: did_you_mean(&name.to_lowercase(), names()),
        });
    };
    Dataset::from_toml(text, name)
}

/// The names of the lists of datasets that are measured together.
pub fn lists() -> [&'static str; List::ALL.len()] {
    List::ALL.map(List::name)
}

/// The built-in datasets of a list, sorted by name.
///
/// # Errors
/// [`DataError::UnknownList`] with the nearest name, and those of [`Dataset::from_toml`].
pub fn in_list(name: &str) -> Result<Vec<Dataset>, DataError> {
    let Some(list) = List::ALL.into_iter().find(|list| list.name() == name) else {
        return Err(DataError::UnknownList {
            name: name.to_owned(),
            known: lists().map(|known| format!("`{known}`")).join(", "),
            hint: did_you_mean(&name.to_lowercase(), lists()),
        });
    };
    let datasets = names().into_iter().map(find).collect::<Result<Vec<Dataset>, DataError>>()?;
    Ok(datasets.into_iter().filter(|dataset| dataset.lists.contains(&list)).collect())
}

/// How a recipe names a dataset: `"crossner-ai"`, `"my/own.toml"`, or the description itself as a
/// table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DatasetRef {
    /// A built-in name or the path of a description.
    Name(String),
    /// A description.
    Inline(Box<Dataset>),
}

impl DatasetRef {
    /// The dataset that the reference names.
    ///
    /// # Errors
    /// As [`find`]; for an inline description, as [`Dataset::check`].
    pub fn resolve(&self) -> Result<Dataset, DataError> {
        match self {
            Self::Name(name) => find(name),
            Self::Inline(dataset) => {
                dataset.check()?;
                Ok((**dataset).clone())
            }
        }
    }
}

/// Written by hand because serde's untagged enums hide the message about an unknown key.
impl<'de> Deserialize<'de> for DatasetRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = DatasetRef;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(
                    "a dataset's name, the path of its `.toml` file, or its description as a table",
                )
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(DatasetRef::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Dataset::deserialize(MapAccessDeserializer::new(map))
                    .map(|dataset| DatasetRef::Inline(Box::new(dataset)))
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}

#[cfg(test)]
mod tests;
