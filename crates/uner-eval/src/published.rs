//! Published F1 with its source, printed beside our own scores.

use std::sync::LazyLock;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Prefixes of our names for other conversions of a dataset.
const CONVERSIONS: [&str; 2] = ["official-", "instructuie-"];

/// The kind of a published F1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Mentions must be equal; our counterpart is the official F1.
    #[default]
    Strict,
    /// Overlapping mentions count half; our counterpart is [`crate::HalfCreditScore`].
    Partial,
}

impl Metric {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Partial => "partial",
        }
    }
}

/// One published number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The system, such as `UniNER-7B`.
    pub system: String,
    /// The kind of training: `zero-shot`, `supervised`, …
    pub setting: String,
    /// The kind of F1.
    #[serde(default)]
    pub metric: Metric,
    /// F1 in percent, as printed.
    pub f1: f64,
    /// Where it is published.
    pub source: String,
}

impl Published {
    /// Whether the system was trained without annotated data of the benchmark. If not, it was
    /// trained on such data, though not always of this dataset.
    pub fn is_zero_shot(&self) -> bool {
        self.setting.starts_with("zero-shot")
    }
}

/// Published averages over the same datasets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedAverages {
    /// The name of the group of datasets.
    pub name: String,
    /// The datasets, by the names of our descriptions.
    pub datasets: Vec<String>,
    /// The averages.
    pub systems: Vec<Published>,
}

#[derive(Deserialize)]
struct Table {
    notes: Vec<String>,
    system: Vec<System>,
    domains: Vec<System>,
    averages: Vec<PublishedAverages>,
}

#[derive(Deserialize)]
struct System {
    name: String,
    setting: String,
    #[serde(default)]
    metric: Metric,
    source: String,
    f1: IndexMap<String, f64>,
    /// The average as printed.
    #[cfg(test)]
    average: Option<f64>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("published.toml")).expect("published.toml is well formed")
});

/// The published numbers for a dataset, in the order of the data file; empty if it has none. Names
/// are compared by letters and digits only, ignoring case: `CrossNER AI`, `crossner-ai` and
/// `CrossNER_AI` are the same, and so are other conversions, such as `official-crossner-ai`.
///
/// # Panics
/// If the embedded data file is malformed; a test reads it.
pub fn published(dataset: &str) -> Vec<Published> {
    find(&TABLE.system, dataset)
}

/// The published averages of a domain over all of its datasets in the `UniversalNER` paper, in the
/// order of the data file; empty if it has none.
///
/// # Panics
/// If the embedded data file is malformed; a test reads it.
pub fn published_domains(domain: &str) -> Vec<Published> {
    find(&TABLE.domains, domain)
}

/// Published averages over groups of datasets.
///
/// # Panics
/// If the embedded data file is malformed; a test reads it.
pub fn published_averages() -> &'static [PublishedAverages] {
    &TABLE.averages
}

/// Contradictions inside the sources of the published numbers and between them.
///
/// # Panics
/// If the embedded data file is malformed; a test reads it.
pub fn notes() -> &'static [String] {
    &TABLE.notes
}

/// Whether two names are of the same dataset, as [`published`] compares them.
pub fn is_same_dataset(a: &str, b: &str) -> bool {
    key(a) == key(b)
}

fn find(systems: &[System], wanted: &str) -> Vec<Published> {
    let wanted = key(wanted);
    let found =
        systems.iter().filter_map(|System { name, setting, metric, source, f1, .. }| {
            let (_, f1) = f1.iter().find(|(name, _)| key(name) == wanted)?;
            let [system, setting, source] = [name, setting, source].map(Clone::clone);
            Some(Published { system, setting, metric: *metric, f1: *f1, source })
        });
    found.collect()
}

fn key(name: &str) -> String {
    let conversion = CONVERSIONS.iter().find_map(|prefix| name.strip_prefix(prefix));
    conversion
        .unwrap_or(name)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase()
}

#[cfg(test)]
#[path = "published_tests.rs"]
mod tests;
