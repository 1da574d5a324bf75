//! The spelling of types. Teachers write one type in many ways: `Person`, `PERSON`,
//! `medical_condition`, `medicalcondition`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uner_data::inventory::fold;

/// How types are spelled in the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TypeSpelling {
    /// As the teacher wrote them, on one line.
    #[default]
    AsWritten,
    /// In lower case; spellings that differ in case, blanks, `_` or `-` become the most frequent of
    /// them.
    Lower,
}

/// The spelling of every type, decided by all answers.
#[derive(Debug, Clone, Default)]
pub struct Spellings {
    /// The lower-case spellings of a folded type with their counts. Empty for
    /// [`TypeSpelling::AsWritten`].
    counts: HashMap<String, HashMap<String, u64>>,
    /// The spelling of each folded type; `None` while they are counted.
    chosen: Option<HashMap<String, String>>,
}

impl Spellings {
    /// Counts a type.
    pub(crate) fn count(&mut self, entity_type: &str) {
        let spellings = self.counts.entry(fold(entity_type)).or_default();
        *spellings.entry(entity_type.to_lowercase()).or_default() += 1;
    }

    /// Chooses the most frequent spelling of each type; the first in order if several are.
    pub(crate) fn choose(&mut self) {
        let counts = std::mem::take(&mut self.counts).into_iter();
        let chosen = counts.filter_map(|(folded, spellings)| {
            let best = spellings
                .into_iter()
                .max_by(|(one, count), (other, best)| count.cmp(best).then_with(|| other.cmp(one)));
            Some((folded, best?.0))
        });
        self.chosen = Some(chosen.collect());
    }

    /// The spelling of a type.
    pub(crate) fn spell(&self, entity_type: &str) -> String {
        let chosen = self.chosen.as_ref().and_then(|chosen| chosen.get(&fold(entity_type)));
        chosen.cloned().unwrap_or_else(|| entity_type.to_owned())
    }
}
