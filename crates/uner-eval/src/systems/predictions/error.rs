//! Errors of files of predictions as a whole. Faults in a line are [`EvalError::Line`].

use std::path::PathBuf;

use uner_data::visible;

use crate::EvalError;

/// The reason why a file of predictions does not answer the queries of a dataset.
#[derive(Debug, thiserror::Error)]
pub enum PredictionsError {
    /// None of the predictions is for an example.
    #[error(
        "none of the `{predictions}` predictions in `{}` is for an example of split `{split}` of dataset `{dataset}`: {location} is for `{}`, the first example is `{}`; name the file that was predicted from this split, with unchanged texts",
        path.display(), visible(prediction), visible(example)
    )]
    NoMatch {
        /// The file.
        path: PathBuf,
        /// Number of predictions.
        predictions: usize,
        /// The dataset.
        dataset: String,
        /// Its split.
        split: String,
        /// The location of the first prediction.
        location: String,
        /// The start of its text, or its id.
        prediction: String,
        /// The same of the first example.
        example: String,
    },
    /// Predictions without texts and ids that are not as many as the examples.
    #[error(
        "`{}` has `{predictions}` predictions without texts or ids, but split `{split}` of dataset `{dataset}` has `{examples}` examples: write one prediction for each example, in their order, or write the texts",
        path.display()
    )]
    Count {
        /// The file.
        path: PathBuf,
        /// Number of predictions.
        predictions: usize,
        /// The dataset.
        dataset: String,
        /// Its split.
        split: String,
        /// Number of examples.
        examples: usize,
    },
    /// A file without predictions.
    #[error("`{}` has no predictions", .0.display())]
    Empty(PathBuf),
    /// A threshold for a format that has no scores.
    #[error("`threshold` is set, but files of format `{format}` have no scores: remove it")]
    Threshold {
        /// The format.
        format: &'static str,
    },
    /// A value of `labels` that is not a type of the dataset.
    #[error(
        "`labels` maps `{}` to `{}`, which is not a type of dataset `{dataset}`{hint}",
        visible(label),
        visible(entity_type)
    )]
    UnknownType {
        /// The program's label.
        label: String,
        /// The type.
        entity_type: String,
        /// The dataset.
        dataset: String,
        /// `; did you mean `x`?`, or nothing.
        hint: String,
    },
    /// A dataset that is queried, but has no file.
    #[error("dataset `{dataset}` has no file of predictions: name one, or leave the dataset out")]
    UnknownDataset {
        /// The dataset.
        dataset: String,
    },
    /// A dataset with two files.
    #[error("dataset `{dataset}` has two files of predictions: measure one after the other")]
    Twice {
        /// The dataset.
        dataset: String,
    },
}

impl From<PredictionsError> for EvalError {
    fn from(error: PredictionsError) -> Self {
        Self::System(Box::new(error))
    }
}
