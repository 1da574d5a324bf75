//! The description of a corpus and of the passages to draw from it: plain data, as a recipe writes
//! it.

use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::DistillError;

/// A corpus, and the passages to draw from it.
///
/// ```
/// let config: uner_distill::CorpusConfig = toml::from_str(
///     r#"
///     duplicates = {}
///     sample = { passages = 1000, weights = { news = 2.0, mail = 1.0 } }
///     [subsets.news]
///     paths = ["news/*.jsonl.zst"]
///     [subsets.mail]
///     paths = ["mail"]
///     "#,
/// )?;
/// assert_eq!((config.max_tokens, config.duplicates.unwrap().jaccard), (256, 0.8));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusConfig {
    /// The subsets by name, in the order in which they are read.
    pub subsets: IndexMap<String, SubsetConfig>,
    /// Most tokens of a passage. Default: 256, as in the paper.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
    /// Passages with fewer characters are left out and counted. Default: 0.
    #[serde(default)]
    pub min_characters: usize,
    /// How near-duplicates are found. Default: they are not looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<DuplicateConfig>,
    /// The passages to draw.
    #[serde(default)]
    pub sample: SampleConfig,
}

/// Documents of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubsetConfig {
    /// Files, folders and patterns (`*`, `**`, `?`, `[…]`). Of a folder, all files whose names say
    /// a format are read, those in its folders, too.
    pub paths: Vec<String>,
    /// The format of the files, by a name of [`uner_data::documents::DocumentFormat`]. Default: as
    /// their names say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The key or column of the text. Default: `text`.
    #[serde(default = "text")]
    pub text: String,
    /// The key or column of the document's id. Default: the file and its line or row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The key or column that names the subset of each document, such as `meta.pile_set_name` of
    /// the Pile. Default: all documents belong to the subset of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
}

/// How near-duplicates are found: by `MinHash` over runs of 5 words.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DuplicateConfig {
    /// The Jaccard similarity, above 0 and at most 1, from which a passage is a duplicate.
    /// Default: 0.8.
    #[serde(default = "jaccard")]
    pub jaccard: f64,
}

/// The passages to draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleConfig {
    /// Number of passages; all, if the corpus has fewer. Default: 50,000, as in the paper.
    #[serde(default = "passages")]
    pub passages: usize,
    /// The weight of each subset; only their ratios count. Default: the number of its passages.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub weights: IndexMap<String, f64>,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { passages: passages(), weights: IndexMap::new() }
    }
}

fn max_tokens() -> usize {
    256
}

fn text() -> String {
    "text".to_owned()
}

fn jaccard() -> f64 {
    0.8
}

fn passages() -> usize {
    50_000
}

impl CorpusConfig {
    /// Makes relative paths relative to a folder, such as that of a recipe.
    #[must_use]
    pub fn relative_to(mut self, folder: &Path) -> Self {
        for path in self.subsets.values_mut().flat_map(|subset| &mut subset.paths) {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
        self
    }

    /// Compares the values of keys with what is possible.
    ///
    /// # Errors
    /// The first key with another value.
    pub fn check(&self) -> Result<(), DistillError> {
        let wrong = |key: String, message: String| Err(DistillError::Config { key, message });
        if self.subsets.is_empty() {
            return wrong("subsets".to_owned(), "is empty; name a subset with `paths`".to_owned());
        }
        for (name, subset) in &self.subsets {
            if subset.paths.is_empty() {
                let message = "is empty; name a file, a folder or a pattern".to_owned();
                return wrong(format!("subsets.{name}.paths"), message);
            }
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens".to_owned(), "is 0; 256 is usual".to_owned());
        }
        if self.sample.passages == 0 {
            return wrong("sample.passages".to_owned(), "is 0; draw at least 1".to_owned());
        }
        if let Some(DuplicateConfig { jaccard }) = self.duplicates
            && !(jaccard > 0.0 && jaccard <= 1.0)
        {
            let message = format!("is {jaccard}, not above 0 and at most 1; 0.8 is usual");
            return wrong("duplicates.jaccard".to_owned(), message);
        }
        for (name, weight) in &self.sample.weights {
            if !(weight.is_finite() && *weight > 0.0) {
                let message =
                    format!("is {weight}, not a number above 0; leave the subset out instead");
                return wrong(format!("sample.weights.{name}"), message);
            }
        }
        Ok(())
    }
}
