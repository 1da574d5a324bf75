//! The files of a folder that may be annotations, and the splits that their names say.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use zip::ZipArchive;

use crate::{
    DataError, folder,
    format::{Brat, Unannotated},
    lines::named,
    predictions::brat,
    read, regular,
};

/// Names of files that describe a dataset rather than being part of it.
const ABOUT: [&str; 7] =
    ["readme", "license", "licence", "changelog", "citation", "note", "requirements"];
/// Extensions of files that are not annotations.
const OTHER: [&str; 20] = [
    "md",
    "rst",
    "pdf",
    "png",
    "jpg",
    "py",
    "ipynb",
    "toml",
    "yaml",
    "yml",
    "cfg",
    "ini",
    "sh",
    "html",
    "model",
    "bin",
    "pt",
    "safetensors",
    "parquet",
    "zip",
];

/// The files under a folder that may be annotations, sorted.
pub(super) fn data_files(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files: Vec<PathBuf> = folder::files(root)?
        .into_iter()
        .filter(|name| is_data(name))
        .map(|name| root.join(name))
        .collect();
    files.sort();
    Ok(files)
}

fn is_data(name: &Path) -> bool {
    let lower =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().to_lowercase();
    let (stem, extension) = (lower(name.file_stem()), lower(name.extension()));
    !ABOUT.contains(&stem.as_str()) && !OTHER.contains(&extension.as_str())
}

/// The split that a path names: that of the last word of the file's name that names one, or else of
/// the nearest folder. Words are runs of letters: `wnut17train` has `wnut` and `train`.
///
/// ```text
/// data/btc.dev → validation    CONLL-format/data/train/FIN5.txt → train
/// ```
pub(crate) fn split_of(path: &Path) -> Option<&'static str> {
    let parts: Vec<String> = path
        .components()
        .rev()
        .take(2)
        .map(|part| part.as_os_str().to_string_lossy().to_lowercase())
        .collect();
    parts.iter().find_map(|part| {
        let words = part.split(|character: char| !character.is_ascii_alphabetic());
        words.rev().find_map(split_of_word)
    })
}

fn split_of_word(word: &str) -> Option<&'static str> {
    match word {
        "dev" | "devel" | "development" | "valid" | "val" | "validation" | "testa" => {
            Some("validation")
        }
        "test" | "testb" | "eval" | "evaluation" | "heldout" => Some("test"),
        "train" | "training" => Some("train"),
        _ => None,
    }
}

/// The `.zip` file in a path, if it has one that exists.
pub(super) fn zip_of(path: &Path) -> Option<PathBuf> {
    let on_disk = read::on_disk(path);
    (on_disk.extension().is_some_and(|extension| extension == "zip") && on_disk.is_file())
        .then_some(on_disk)
}

/// Folders of standoff files.
pub(super) struct BratFolders {
    pub(super) format: Brat,
    /// One folder for each split that a subfolder names, or else the given folder.
    pub(super) folders: Vec<PathBuf>,
    pub(super) num_pairs: usize,
    pub(super) notes: Vec<String>,
}

/// The standoff files under a folder, on disk or in a zip file; `None` if it has none.
pub(super) fn brat_folders(path: &Path) -> Result<Option<BratFolders>, DataError> {
    let names = names_under(path)?;
    let stems = |extension: &str| -> BTreeSet<PathBuf> {
        let has = |name: &&PathBuf| name.extension().is_some_and(|found| found == extension);
        names.iter().filter(has).map(|name| name.with_extension("")).collect()
    };
    let (texts, annotations) = (stems("txt"), stems("ann"));
    let num_pairs = texts.intersection(&annotations).count();
    if num_pairs == 0 {
        return Ok(None);
    }
    let alone: Vec<&PathBuf> = texts.difference(&annotations).collect();
    let mut notes = Vec::new();
    let mut format = Brat::default();
    if let Some(first) = alone.first() {
        format.unannotated = Unannotated::Skip;
        notes.push(format!(
            "{} texts have no annotation file, such as `{}.txt`; they are skipped (set `unannotated`)",
            alone.len(),
            first.display()
        ));
    }
    if names.iter().any(|name| name == Path::new(brat::INDEX)) {
        format.index = Some(PathBuf::from(brat::INDEX));
    }
    let pairs = texts.intersection(&annotations);
    Ok(Some(BratFolders { format, folders: split_folders(path, pairs), num_pairs, notes }))
}

/// The folders that name splits, if every document is in one of them.
fn split_folders<'a>(root: &Path, stems: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for stem in stems {
        let parents: Vec<&Path> = stem.ancestors().skip(1).collect();
        let is_split = |folder: &&Path| {
            let name = folder.file_name().unwrap_or_default();
            split_of(Path::new(name)).is_some()
        };
        let Some(folder) = parents.into_iter().find(is_split) else {
            return vec![root.to_owned()];
        };
        folders.insert(root.join(folder));
    }
    folders.into_iter().collect()
}

/// The names of the files under a folder, relative to it.
fn names_under(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let Some(archive) = zip_of(path) else { return folder::files(path) };
    let opened = ZipArchive::new(regular::open(&archive)?)
        .map_err(|error| named(&archive, &error.into()))?;
    let inside = path.strip_prefix(&archive).unwrap_or(Path::new("")).to_owned();
    let names =
        opened.file_names().filter_map(Result::ok).map(|name| PathBuf::from(name.into_owned()));
    Ok(names
        .filter_map(|name| name.strip_prefix(&inside).map(Path::to_owned).ok())
        .filter(|name| folder::is_visible(name))
        .collect())
}
