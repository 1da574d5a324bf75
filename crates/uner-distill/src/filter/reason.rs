//! Why entities and passages are dropped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uner_data::middle_cut;

/// Most examples of a reason in a report.
const SHOWN: usize = 5;
/// Characters of a long example that are shown at each of its ends.
const EDGE: usize = 60;

/// Why an entity is dropped, in the order in which the rules are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The answer has a group of texts that is not a pair of mention and type.
    NotAPair,
    /// The mention is empty.
    EmptyMention,
    /// The type is empty or says that there is none, such as `None`, `NA`, `MISC`, `ELSE`.
    ElseType,
    /// The mention or the type is not in the Latin script.
    NotEnglish,
    /// The passage has the mention in another case only.
    OtherCase,
    /// The passage does not have the mention.
    NotInPassage,
    /// The answer repeats mention and type more often than the passage has the mention.
    Repeated,
}

impl Reason {
    /// The reason in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::NotAPair => "not a pair of mention and type",
            Self::EmptyMention => "the mention is empty",
            Self::ElseType => "the type is empty or `None`, `NA`, `MISC`, `ELSE`, …",
            Self::NotEnglish => "mention or type not in the Latin script",
            Self::OtherCase => "in the passage in another case only",
            Self::NotInPassage => "not in the passage",
            Self::Repeated => "repeated more often than in the passage",
        }
    }
}

/// A reason with its count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The number of dropped entities.
    pub count: u64,
    /// The first of them, as `mention (type)`.
    pub examples: Vec<String>,
}

/// The dropped entities by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reasons(BTreeMap<Reason, Dropped>);

impl Reasons {
    pub(crate) fn add(&mut self, reason: Reason, pair: Option<(&str, &str)>) {
        let dropped = self.0.entry(reason).or_default();
        dropped.count += 1;
        if let Some((mention, entity_type)) = pair
            && dropped.examples.len() < SHOWN
        {
            let example = format!("{mention} ({entity_type})");
            dropped.examples.push(middle_cut(&example, EDGE));
        }
    }

    /// Adds those of another passage.
    pub(crate) fn join(&mut self, other: Self) {
        for (reason, dropped) in other.0 {
            let own = self.0.entry(reason).or_default();
            own.count += dropped.count;
            let free = SHOWN.saturating_sub(own.examples.len());
            own.examples.extend(dropped.examples.into_iter().take(free));
        }
    }

    /// The reasons that occurred.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, &Dropped)> {
        self.0.iter().map(|(reason, dropped)| (*reason, dropped))
    }

    /// The number of entities that were dropped for a reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.0.get(&reason).map_or(0, |dropped| dropped.count)
    }

    /// The number of all dropped entities.
    pub fn total(&self) -> u64 {
        self.0.values().map(|dropped| dropped.count).sum()
    }
}
