//! What can be wrong with a model folder.

use std::path::PathBuf;

/// A model that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file system said no; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// `config.json` or the index is not what it should be.
    #[error("`{path}`: {problem}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where known.
        problem: String,
    },
    /// A safetensors file is torn or of another format.
    #[error(
        "`{path}` is not a whole safetensors file ({problem}): it may have been cut off while copying; get it again"
    )]
    Torn {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        problem: String,
    },
    /// A file that is still to be fetched.
    #[error("`{0}` is a pointer of Git LFS, not the file itself; fetch that: `git lfs pull`")]
    Pointer(PathBuf),
    /// A file that the folder names lies somewhere else.
    #[error(
        "`{folder}` names the file `{name}`, which is not inside the folder: it is not read; copy it there if you trust it"
    )]
    Outside {
        /// The folder.
        folder: PathBuf,
        /// The name.
        name: String,
    },
    /// The folder holds no weights.
    #[error("`{path}` holds neither `model.safetensors` nor `model.safetensors.index.json`")]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds pickled weights.
    #[error(
        "`{path}` is pickled, which may run code when it is read, and is not read here: convert it, by \
         `{made_by}.from_pretrained(FOLDER).save_pretrained(OTHER)` (where it is trusted), or take the safetensors that most publishers have, too"
    )]
    Pickled {
        /// The file.
        path: PathBuf,
        /// The class that reads it.
        made_by: &'static str,
    },
    /// The files and `config.json` do not describe the same model.
    #[error("the weights in `{path}` do not fit its `config.json`:\n{}", listed(problems))]
    Mismatch {
        /// The folder.
        path: PathBuf,
        /// One sentence for every parameter that is missing, unexpected, or of another shape or
        /// type.
        problems: Vec<String>,
    },
    /// The adapter and the model do not fit each other.
    #[error("the adapter in `{path}` does not fit the model:\n{}", listed(problems))]
    Adapter {
        /// The adapter's folder.
        path: PathBuf,
        /// One sentence for every tensor that is missing, unexpected, or of another shape or type.
        problems: Vec<String>,
    },
    /// The model that an adapter belongs to is not where the adapter says.
    #[error(
        "the adapter in `{adapter}` belongs to the model {}, and there is no such folder; name the folder with `--base`",
        if base.as_os_str().is_empty() { "that it does not name".to_owned() } else { format!("`{}`", base.display()) }
    )]
    NoBase {
        /// The adapter's folder.
        adapter: PathBuf,
        /// The folder that was looked for.
        base: PathBuf,
    },
    /// The base is another model than the one that the adapter was trained on.
    #[error(
        "the adapter in `{adapter}` was not trained on the model in `{base}`: that model's fingerprint is {found}, expected \
         {expected}; restore the model, or name another folder"
    )]
    OtherBase {
        /// The adapter's folder.
        adapter: PathBuf,
        /// The base's folder.
        base: PathBuf,
        /// The fingerprint in the adapter's `base_model.json`.
        expected: String,
        /// That of the base.
        found: String,
    },
}

/// Some sentences, a line each, and how many more there are.
fn listed(problems: &[String]) -> String {
    const MOST: usize = 20;
    let shown = problems[..problems.len().min(MOST)].join("\n");
    match problems.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown}\nand {more} more"),
    }
}
