//! Published F1 per dataset with its source, printed beside our own scores.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// One published number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The system, such as `UniNER-7B`.
    pub system: String,
    /// The kind of training: `zero-shot`, `supervised`, …
    pub setting: String,
    /// F1 in percent, as printed.
    pub f1: f64,
    /// Where it is published.
    pub source: String,
}

#[derive(Deserialize)]
struct Table {
    system: Vec<System>,
}

#[derive(Deserialize)]
struct System {
    name: String,
    setting: String,
    source: String,
    f1: IndexMap<String, f64>,
}

/// The published numbers for a dataset, in the order of the data file; empty if it has none. Names
/// are compared by letters and digits only, ignoring case: `CrossNER AI`, `crossner-ai` and
/// `CrossNER_AI` are the same, and so is `official-crossner-ai` (the released conversion).
///
/// # Panics
/// If the embedded data file is malformed; a test reads it.
pub fn published(dataset: &str) -> Vec<Published> {
    let table: Table =
        toml::from_str(include_str!("published.toml")).expect("published.toml is well formed");
    let found = table.system.into_iter().filter_map(|System { name, setting, source, f1 }| {
        let (_, f1) = f1.into_iter().find(|(name, _)| key(name) == key(dataset))?;
        Some(Published { system: name, setting, f1, source })
    });
    found.collect()
}

fn key(name: &str) -> String {
    name.trim_start_matches("official-")
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f1(dataset: &str, system: &str, setting: &str) -> Option<f64> {
        let numbers = published(dataset).into_iter();
        numbers
            .filter(|number| number.system == system && number.setting == setting)
            .map(|number| number.f1)
            .next()
    }

    #[test]
    fn numbers_are_found_under_any_spelling_of_the_dataset() {
        assert_eq!(f1("CrossNER_AI", "UniNER-7B", "zero-shot"), Some(53.6));
        assert_eq!(f1("MIT-Restaurant", "BERT-base", "supervised"), Some(81.02));
        assert_eq!(f1("mit-restaurant", "UniNER-7B", "supervised"), Some(82.35));
        assert_eq!(f1("mit-restaurant", "UniNER-7B", "zero-shot"), Some(31.7));
        assert_eq!(f1("crossner-ai", "InstructUIE-11B", "zero-shot, re-evaluated"), Some(48.4));
        assert_eq!(published("official-crossner-ai"), published("crossner-ai"));
        assert_eq!(published("demo"), []);
    }

    #[test]
    fn averages_of_the_tables_are_those_published() {
        let table: Table = toml::from_str(include_str!("published.toml")).unwrap();
        let average = |system: &str, setting: &str, digits: usize| {
            let system =
                table.system.iter().find(|s| s.name == system && s.setting == setting).unwrap();
            let mean = system.f1.values().sum::<f64>() / system.f1.len() as f64;
            (system.f1.len(), format!("{mean:.digits$}"))
        };
        assert_eq!(average("ChatGPT", "zero-shot", 1), (49, "33.9".to_owned()));
        assert_eq!(average("UniNER-7B", "supervised", 2), (20, "84.78".to_owned()));
        assert_eq!(average("InstructUIE-11B", "supervised", 2), (20, "81.16".to_owned()));
        assert_eq!(average("BERT-base", "supervised", 2), (20, "80.09".to_owned()));
    }
}
