//! From the pairs of an answer to grounded entities, and the counts of everything that was dropped.
//!
//! The paper drops unparseable answers, entities that are not English, and types such as `None`,
//! `NA`, `MISC` and `ELSE` (section 3.1); its rules are not released. Ours are below.

mod ground;
mod language;
mod reason;
mod spelling;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use uner_data::Entity;

use crate::answer::ParsedAnswer;

pub use language::is_english;
pub use reason::{Reason, Reasons};
pub use spelling::{Spellings, TypeSpelling};

use ground::Ground;

/// Types that say that an entity has none, without case, blanks and punctuation. The first four
/// are the paper's.
pub const ELSE_TYPES: [&str; 27] = [
    "none",
    "na",
    "misc",
    "else",
    "",
    "entity",
    "miscellaneous",
    "nan",
    "nil",
    "noentity",
    "notapplicable",
    "notspecified",
    "nothing",
    "notype",
    "null",
    "other",
    "otherentity",
    "others",
    "thing",
    "typeofentity",
    "unclassified",
    "undefined",
    "unidentified",
    "unknown",
    "unknowntype",
    "unspecified",
    "various",
];

/// The rules for entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterConfig {
    /// Whether entities are dropped whose mention or type is not in the Latin script
    /// ([`is_english`]). Default: true.
    pub english_only: bool,
    /// The spelling of types. Default: as the teacher wrote them, as in the released data.
    pub types: TypeSpelling,
}

impl Default for FilterConfig {
    fn default() -> Self {
        Self { english_only: true, types: TypeSpelling::default() }
    }
}

/// The name of a type, for output: on one line, without white space at its ends.
pub(crate) fn one_line(entity_type: &str) -> String {
    entity_type.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Why a pair is dropped whatever the passage is; `None` if it is not.
pub(crate) fn refused(mention: &str, entity_type: &str, config: &FilterConfig) -> Option<Reason> {
    if mention.trim_matches(uner_data::is_blank).is_empty() {
        Some(Reason::EmptyMention)
    } else if is_else(entity_type) {
        Some(Reason::ElseType)
    } else if config.english_only && !(is_english(mention) && is_english(entity_type)) {
        Some(Reason::NotEnglish)
    } else {
        None
    }
}

/// The entities of an answer that are in the passage, in the order of the answer. The others are
/// counted.
///
/// The k-th repetition of a mention with a type has its k-th occurrence, whole words first. A
/// mention is its text in the passage, so that every entity occurs exactly there.
pub(crate) fn entities(
    text: &str,
    answer: ParsedAnswer,
    config: &FilterConfig,
    spellings: &Spellings,
    reasons: &mut Reasons,
) -> Vec<Entity> {
    let mut ground = Ground::new(text);
    for _ in 0..answer.unreadable {
        reasons.add(Reason::NotAPair, None);
    }
    let mut entities = Vec::new();
    for (mention, entity_type) in answer.pairs {
        let kind = spellings.spell(&one_line(&entity_type));
        let found = match refused(&mention, &entity_type, config) {
            Some(reason) => Err(reason),
            None => ground.find(&mention, &kind),
        };
        match found {
            Ok((text, span)) => {
                entities.push(Entity { text, entity_type: kind, span: Some(span) });
            }
            Err(reason) => reasons.add(reason, Some((&mention, &entity_type))),
        }
    }
    entities
}

fn is_else(entity_type: &str) -> bool {
    let letters = entity_type.chars().filter(|c| c.is_alphanumeric());
    let folded: String = letters.flat_map(char::to_lowercase).collect();
    ELSE_TYPES.contains(&&*folded)
}
