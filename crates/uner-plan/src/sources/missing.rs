//! Files that a run needs and that do not exist.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use uner_data::{DataError, Dataset, read};

use crate::hub::HubRepo;
use crate::lookup::model::ModelSource;
use crate::recipe::RecipeError;

/// Something that the run needs and that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its description.
    pub what: String,
    /// The path where it should be.
    pub path: PathBuf,
    /// How to get it and where to put it; empty if unknown.
    pub obtain: String,
    /// Its licence; empty if unknown.
    pub licence: String,
    /// The hub repository that contains it; `None` if no repository is named.
    pub hub: Option<HubRepo>,
    /// Whether training needs it; the benchmarks at the end are needed only afterwards.
    pub for_training: bool,
}

pub(super) fn missing_model(model: &ModelSource) -> Option<Missing> {
    let folder = model.folder.as_ref().filter(|_| !model.present)?;
    Some(Missing {
        what: "the model's weights".to_owned(),
        path: folder.clone(),
        obtain: match model.about.obtain.as_str() {
            "" => {
                "put `config.json`, the weights as safetensors, and the tokenizer into this folder"
                    .to_owned()
            }
            obtain => format!(
                "{obtain} (`config.json`, the weights as safetensors, and the tokenizer go into this folder)"
            ),
        },
        licence: model.about.licence.clone(),
        hub: model.hub.clone(),
        for_training: true,
    })
}

pub(super) fn missing_split(
    dataset: &Dataset,
    split: &str,
    root: &Path,
    for_training: bool,
) -> Result<Option<Missing>, RecipeError> {
    match read(dataset, split, root) {
        Ok(_) => Ok(None),
        Err(DataError::MissingFile { path, obtain, .. }) => Ok(Some(Missing {
            what: format!("split `{split}` of dataset `{}`", dataset.name),
            path,
            obtain,
            licence: dataset.licence.clone(),
            hub: on_hub(dataset, split, root)?,
            for_training,
        })),
        Err(error) => Err(RecipeError::Contradiction(error.to_string())),
    }
}

/// The hub repository of a split's files; `None` if the description does not name one.
fn on_hub(dataset: &Dataset, split: &str, root: &Path) -> Result<Option<HubRepo>, RecipeError> {
    if dataset.hub.is_empty() {
        return Ok(None);
    }
    let files = dataset
        .files(split, root)
        .map_err(|error| RecipeError::Contradiction(error.to_string()))?;
    let names =
        files.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()));
    Ok(Some(HubRepo::dataset(&dataset.hub, names.collect())))
}

/// Lists what is missing, grouped by source; the last line of a group says how to get it.
pub fn missing_lines<'a>(missing: impl IntoIterator<Item = &'a Missing>) -> Vec<String> {
    let mut sources: IndexMap<(&str, &str), Vec<String>> = IndexMap::new();
    for Missing { what, path, obtain, licence, .. } in missing {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let line = format!("{what}: `{}` does not exist", path.display());
        sources.entry((licence, obtain)).or_default().push(line);
    }
    let source = |((licence, obtain), mut lines): ((&str, &str), Vec<String>)| {
        let licence =
            if licence.is_empty() { String::new() } else { format!("licence: {licence}; ") };
        if obtain.is_empty() {
            lines.push(format!(
                "  {licence}put it there, or correct the path in the recipe or the description"
            ));
        } else {
            lines.push(format!("  {licence}how to get it: {obtain}"));
        }
        lines
    };
    sources.into_iter().flat_map(source).collect()
}
