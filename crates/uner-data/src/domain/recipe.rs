//! Fills in the templates of the recipes.

use super::{InitOptions, describe::quoted};

const TRAINING: &str = include_str!("templates/recipe.toml");
const REPLAY: &str = include_str!("templates/replay.toml");
const DURING: &str = include_str!("templates/during.toml");
const EVALUATION: &str = include_str!("templates/evaluate-before.toml");

/// Examples of the replayed dataset for each of the user's own, and their largest number.
const REPLAYED: usize = 1;
const MOST_REPLAYED: usize = 50_000;

pub(super) struct Recipes<'a> {
    pub(super) name: &'a str,
    /// The splits of the dataset, training data first.
    pub(super) splits: &'a [&'a str],
    pub(super) num_train: usize,
    pub(super) options: &'a InitOptions,
}

impl Recipes<'_> {
    /// The recipe that trains.
    pub(super) fn training(&self) -> String {
        let replay = if self.options.replay.is_empty() { "" } else { REPLAY };
        // Evaluations during training need held-out data that the final one does not use.
        let during = if self.has("validation") && self.has("test") { DURING } else { "" };
        let text = TRAINING.replace("@REPLAY@\n", replay).replace("@DURING@\n", during);
        self.filled(&text)
    }

    /// The recipe that evaluates the model before training.
    pub(super) fn evaluation(&self) -> String {
        self.filled(EVALUATION)
    }

    fn has(&self, split: &str) -> bool {
        self.splits.contains(&split)
    }

    fn filled(&self, template: &str) -> String {
        let held_out = ["test", "validation", "train"].into_iter().find(|split| self.has(split));
        let cap = (REPLAYED * self.num_train).clamp(1, MOST_REPLAYED);
        template
            .replace("@SLUG@", &slug(self.name))
            .replace("@WEIGHTS@", &quoted(&self.options.weights))
            .replace("@REPLAYED_DATASET@", &quoted(&self.options.replay))
            .replace("@CAP@", &cap.to_string())
            .replace("@HELD_OUT@", held_out.unwrap_or("train"))
    }
}

/// A name as part of a path.
fn slug(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|character| if character.is_alphanumeric() { character } else { '-' })
        .collect();
    let trimmed = plain.trim_matches('-').to_lowercase();
    if trimmed.is_empty() { "domain".to_owned() } else { trimmed }
}
