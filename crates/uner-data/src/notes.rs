//! What a reader could not represent exactly: counted, with the first place of each kind. Notes are
//! not errors; the example was still read.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{format::Offsets, visible};

/// A kind of inexactness.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Note {
    /// An entity of a label that the dataset's description drops (the label is given).
    DroppedLabel(String),
    /// A tag that breaks its scheme: one that continues an entity although none of its label is
    /// open starts one, as in conlleval; an IOBES entity without its last tag ends where it ends.
    InconsistentTag,
    /// An entity whose tokens are all empty or blank.
    EmptyMention,
    /// A sentence left out because it is metadata by the dataset's description.
    MetadataSentence,
    /// An entity in such a sentence.
    MetadataEntity,
    /// An entity that the official conversion loses or changes, see [`crate::format::Defect`].
    ConversionDefect,
    /// A mention that does not occur in the text (or not that often): it has no span.
    MentionNotInText,
    /// Offsets that do not give the mention, replaced by an occurrence of it in the text.
    WrongPosition,
    /// Offsets that give the mention in another unit than the description's, and are read in that.
    OtherOffsets(Offsets),
    /// A mention in several pieces, represented by the range from its first to its last character.
    Discontinuous,
    /// A query asked twice of one passage: it is asked once, and the answers are joined.
    RepeatedQuery,
    /// An entity given again: the same span with the same type, or a mention without offsets that
    /// was given more often than the text holds it.
    RepeatedEntity,
    /// A span or mention with blanks at its ends, which were cut off.
    BlankEdges,
    /// A row that starts like a comment but has the columns and the tags of a token.
    TaggedComment,
    /// A byte order mark inside a file, at the start of a line.
    ByteOrderMark,
    /// A standoff text without an annotation file, treated as the description says.
    Unannotated,
    /// A record that the annotator did not annotate, rejected or skipped.
    NotAccepted,
    /// An annotation of a text by a further annotator.
    FurtherAnnotation,
    /// A region that an annotation tool marked and that is no labelled entity: without a label,
    /// rejected, of a group of spans.
    OtherRegion,
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::DroppedLabel(label) => {
                return write!(out, "entities of the dropped label `{}`", visible(label));
            }
            Self::OtherOffsets(unit) => {
                let (key, unit) = (unit.key(), unit.unit());
                return write!(
                    out,
                    "offsets in {unit} (read so; set `offsets = \"{key}\"` in `[format]`)"
                );
            }
            Self::InconsistentTag => "tags that break the scheme (read as conlleval reads them)",
            Self::EmptyMention => "entities of empty or blank tokens (left out)",
            Self::MetadataSentence => "metadata sentences (left out)",
            Self::MetadataEntity => "entities in metadata sentences (left out)",
            Self::ConversionDefect => {
                "entities lost or changed by the official conversion's defects"
            }
            Self::MentionNotInText => {
                "mentions that do not occur in their text (kept without a span)"
            }
            Self::WrongPosition => "offsets that do not give their mention (placed by its text)",
            Self::Discontinuous => {
                "discontinuous entities (the range from first to last character was taken)"
            }
            Self::RepeatedQuery => {
                "queries asked twice of one passage (asked once, answers joined)"
            }
            Self::RepeatedEntity => "entities given again (taken once)",
            Self::BlankEdges => "entities with blanks at their ends (cut off)",
            Self::TaggedComment => "rows that start like comments but carry a tag (read as tokens)",
            Self::ByteOrderMark => "byte order marks inside a file (left out)",
            Self::Unannotated => "texts without an annotation file (treated as `unannotated` says)",
            Self::NotAccepted => {
                "records that were not annotated, rejected or skipped in the annotation tool (left out)"
            }
            Self::FurtherAnnotation => "annotations of a text by further annotators (left out)",
            Self::OtherRegion => {
                "marked regions that are no labelled, accepted entities (left out)"
            }
        };
        out.write_str(text)
    }
}

/// How often a note was taken, and where first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Occurrences {
    /// How often.
    pub count: usize,
    /// The file of the first.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

/// All notes of a reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    by_kind: BTreeMap<Note, Occurrences>,
}

impl Notes {
    /// Takes a note.
    pub(crate) fn take(&mut self, note: Note, file: &Path, line: usize) {
        self.by_kind
            .entry(note)
            .and_modify(|found| found.count += 1)
            .or_insert_with(|| Occurrences { count: 1, file: file.to_owned(), line });
    }

    /// Adds the notes of another reading.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (note, found) in &other.by_kind {
            self.by_kind
                .entry(note.clone())
                .and_modify(|mine| mine.count += found.count)
                .or_insert_with(|| found.clone());
        }
    }

    /// How often a note was taken.
    pub fn count(&self, note: &Note) -> usize {
        self.by_kind.get(note).map_or(0, |found| found.count)
    }

    /// The notes in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&Note, &Occurrences)> {
        self.by_kind.iter()
    }

    /// Whether everything was represented exactly.
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }
}

/// One line a kind: `3 x entities of the dropped label `misc` (first at ai/test.txt:12)`.
impl fmt::Display for Notes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (note, found) in &self.by_kind {
            writeln!(
                out,
                "{} x {note} (first at {}:{})",
                found.count,
                visible(&found.file.to_string_lossy()),
                found.line
            )?;
        }
        Ok(())
    }
}
