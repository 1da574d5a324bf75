//! Errors of reading and writing model folders.

use std::path::PathBuf;

/// A model that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file system failed; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// `config.json`, the index or another JSON file is invalid.
    #[error("`{path}`: {problem}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The problem, with line and column if known.
        problem: String,
    },
    /// A safetensors file is damaged or has another format.
    #[error(
        "`{path}` is not a complete safetensors file ({problem}); copying may have cut it off: copy or \
         download it again"
    )]
    Torn {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        problem: String,
    },
    /// A folder that is unfinished, or differs from its checksums.
    #[error("checkpoint `{path}`: {problem}")]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// The fault and the remedy.
        problem: String,
    },
    /// A Git LFS pointer in place of a file.
    #[error("`{0}` is a Git LFS pointer, not the file itself; fetch the file: `git lfs pull`")]
    Pointer(PathBuf),
    /// A file that the folder names lies outside the folder.
    #[error(
        "`{folder}` names the file `{name}`, which is not inside the folder and is not read; copy it \
         there if you trust it"
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
        "`{path}` is pickled and is not read, since reading it could run code: use the safetensors \
         files that most publishers offer, or convert a folder that you trust with \
         `{made_by}.from_pretrained(FOLDER).save_pretrained(OTHER)`"
    )]
    Pickled {
        /// The file.
        path: PathBuf,
        /// The Python class that reads it.
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
    /// A GGUF file is damaged or describes a model that is not supported.
    #[error("`{path}`: {problem}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The key or tensor at fault.
        problem: String,
    },
    /// The tensors of a GGUF file do not fit its metadata.
    #[error("the tensors in `{path}` do not fit its metadata:\n{}", listed(problems))]
    Tensors {
        /// The file.
        path: PathBuf,
        /// One sentence for every tensor that is missing, unexpected, not finite, or of another
        /// shape or type.
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
        "the adapter in `{adapter}` belongs to {}; name the model's folder with `--base`",
        if base.as_os_str().is_empty() { "a model that it does not name".to_owned() } else {
            format!("the model `{}`, and there is no such folder", base.display())
        }
    )]
    NoBase {
        /// The adapter's folder.
        adapter: PathBuf,
        /// The folder that was looked for.
        base: PathBuf,
    },
    /// The base is another model than the one that the adapter was trained on.
    #[error(
        "the adapter in `{adapter}` was not trained on the model in `{base}`: that model's fingerprint \
         is `{found}`, expected `{expected}`; restore the model, or name another folder"
    )]
    OtherBase {
        /// The adapter's folder.
        adapter: PathBuf,
        /// The base's folder.
        base: PathBuf,
        /// The fingerprint in the adapter's `base_model.json`.
        expected: String,
        /// The base's fingerprint.
        found: String,
    },
}

/// Joins the first 20 sentences, one per line, and says how many more there are.
fn listed(problems: &[String]) -> String {
    const MOST: usize = 20;
    let shown = problems[..problems.len().min(MOST)].join("\n");
    match problems.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown}\nand {more} more"),
    }
}
