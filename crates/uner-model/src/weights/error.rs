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
    /// The folder holds no weights.
    #[error("`{path}` holds neither `model.safetensors` nor `model.safetensors.index.json`")]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// The files and `config.json` do not describe the same model.
    #[error("the weights in `{path}` do not fit its `config.json`:\n{}", problems.join("\n"))]
    Mismatch {
        /// The folder.
        path: PathBuf,
        /// One sentence for every parameter that is missing, unexpected, or of another shape or type.
        problems: Vec<String>,
    },
    /// The adapter and the model do not fit each other.
    #[error("the adapter in `{path}` does not fit the model:\n{}", problems.join("\n"))]
    Adapter {
        /// The adapter's folder.
        path: PathBuf,
        /// One sentence for every tensor that is missing, unexpected, or of another shape or type.
        problems: Vec<String>,
    },
}
