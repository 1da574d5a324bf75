//! Counts of what a format cannot represent, with the first examples of each kind.

use std::{collections::BTreeMap, fmt};

use crate::{middle_cut, visible};

/// A reason why an example is not read back as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// An entity whose text is not the text at its span, or that has no span although its text
    /// occurs. It is left out.
    WrongOffsets,
    /// An entity without a span. It is left out of formats that have no place for it.
    NoSpan,
    /// An entity of white space only, or without a token. It is left out.
    Blank,
    /// An entity or query that occurs twice. It is written once.
    Repeated,
    /// An entity that overlaps a longer one, in a format with one entity per token. It is left out.
    Overlap,
    /// An entity with an empty type, in a format whose labels cannot be empty. It is left out.
    EmptyType,
    /// An entity without an occurrence of its own: those of its mention that do not overlap are
    /// fewer than its mentions, in a format without offsets. It is left out.
    NoOccurrence,
    /// An entity that is read back at another occurrence of its mention, in a format without
    /// offsets.
    OtherOccurrence,
    /// An entity with white space at its ends, which is not part of it when it is read back.
    BlankEdges,
    /// A token that is cut where an entity starts or ends.
    CutToken,
    /// A text whose white space is not one space between tokens; it is read back so. In brat, a
    /// byte order mark at the start of a text.
    Space,
    /// A type that is asked of a text without an entity of it, in a format without queries.
    AbsentType,
    /// An example whose entities or queries are read back in another order.
    Order,
    /// An example without an id. It is numbered when it is read back.
    NoId,
    /// An example without a token, in a format of rows. It is left out.
    NoToken,
    /// A relation. It is left out.
    Relation,
}

impl fmt::Display for Loss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::WrongOffsets => "entities whose span is not their text (left out)",
            Self::NoSpan => "entities without a span (left out)",
            Self::Blank => "entities of white space (left out)",
            Self::Repeated => "repeated entities or queries (written once)",
            Self::Overlap => "entities that overlap a longer one (left out)",
            Self::EmptyType => "entities with an empty type (left out)",
            Self::NoOccurrence => "entities without an occurrence of their own (left out)",
            Self::OtherOccurrence => "entities read back at another occurrence of their mention",
            Self::BlankEdges => "entities with white space at their ends (read back trimmed)",
            Self::CutToken => "tokens cut where an entity starts or ends",
            Self::Space => "texts read back with one space between tokens",
            Self::AbsentType => "absent types asked of a text (left out)",
            Self::Order => "examples whose entities or queries are read back in another order",
            Self::NoId => "examples without an id (numbered when read back)",
            Self::NoToken => "examples without a token (left out)",
            Self::Relation => "relations (left out)",
        })
    }
}

/// A loss and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossAt {
    /// The id of the example.
    pub id: String,
    /// The mention, type or token; empty if the loss is one of the example.
    pub value: String,
}

/// The losses of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LossCount {
    /// Their number.
    pub count: usize,
    /// The first of them.
    pub first: Vec<LossAt>,
}

/// Largest number of listed losses of one kind; the others are only counted.
const LISTED: usize = 20;

/// Number of them that are shown in a message.
const SHOWN: usize = 3;

/// All losses of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    by_kind: BTreeMap<Loss, LossCount>,
}

impl Losses {
    pub(super) fn add(&mut self, loss: Loss, id: &str, value: &str) {
        let found = self.by_kind.entry(loss).or_default();
        found.count += 1;
        if found.first.len() < LISTED {
            found.first.push(LossAt { id: id.to_owned(), value: value.to_owned() });
        }
    }

    /// Number of losses of a kind.
    pub fn count(&self, loss: Loss) -> usize {
        self.by_kind.get(&loss).map_or(0, |found| found.count)
    }

    /// Number of all losses.
    pub fn total(&self) -> usize {
        self.by_kind.values().map(|found| found.count).sum()
    }

    /// The losses in a fixed order of their kinds.
    pub fn iter(&self) -> impl Iterator<Item = (Loss, &LossCount)> {
        self.by_kind.iter().map(|(loss, found)| (*loss, found))
    }

    /// Whether every example is read back as it was.
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }
}

/// One line per kind: ``2 x entities without a span (left out): `Rome` in example `7`, …``.
impl fmt::Display for Losses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (loss, found) in self.iter() {
            let shown = found.first.iter().take(SHOWN).map(|LossAt { id, value }| {
                let id = middle_cut(&visible(id), 60);
                match value.as_str() {
                    "" => format!("example `{id}`"),
                    value => format!("`{}` in example `{id}`", middle_cut(&visible(value), 60)),
                }
            });
            let shown: Vec<String> = shown.collect();
            let more = if found.count > SHOWN { ", …" } else { "" };
            writeln!(out, "{} x {loss}: {}{more}", found.count, shown.join(", "))?;
        }
        Ok(())
    }
}
