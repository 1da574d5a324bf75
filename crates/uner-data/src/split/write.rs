//! Writes splits as JSON Lines of texts with spans, which represent everything.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{NAMES, Splits};
use crate::{
    DataError,
    export::{ExampleWriter, ExportFormat, Tokens},
    format::Format,
};

/// The written files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Name and file of each split.
    pub files: Vec<(&'static str, PathBuf)>,
    /// The format that reads them.
    pub format: Format,
}

/// Writes `train.jsonl`, `validation.jsonl` and `test.jsonl` of the splits that have a share to a
/// folder. An id that occurs again in a split gets a number (`7#2`), since ids must be unique.
///
/// # Errors
/// [`DataError::Unusable`] if a file exists: no file is overwritten. [`DataError::Io`] if one
/// cannot be written.
pub fn write_splits(splits: &Splits, folder: &Path) -> Result<Written, DataError> {
    let mut files = Vec::new();
    for (split, name) in NAMES.into_iter().enumerate().filter(|(split, _)| splits.is_wanted[*split])
    {
        let path = folder.join(format!("{name}.jsonl"));
        let mut writer = ExampleWriter::create(&path, ExportFormat::JsonLines, Tokens::Words)?;
        let mut ids = HashSet::new();
        for example in &splits.examples[split] {
            let mut example = example.clone();
            example.id = unique(&example.id, &mut ids);
            writer.write(&example)?;
        }
        writer.finish()?;
        files.push((name, path));
    }
    Ok(Written { files, format: ExportFormat::JsonLines.format() })
}

fn unique(id: &str, ids: &mut HashSet<String>) -> String {
    let mut found = id.to_owned();
    let mut number = 1;
    while !ids.insert(found.clone()) {
        number += 1;
        found = format!("{id}#{number}");
    }
    found
}
