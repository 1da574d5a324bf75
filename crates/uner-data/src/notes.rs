//! Counts of data that a reader could not represent exactly, with the first location of each kind.
//! Notes are not errors: reading continues.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{format::Offsets, visible};

/// A kind of inexact representation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Note {
    /// An entity whose label (the value) is dropped by the dataset's description.
    DroppedLabel(String),
    /// A tag that breaks its scheme, read as conlleval does. A tag that continues an entity starts
    /// one if none of its label is open. An entity without its last tag (IOBES, BILOU) just ends.
    InconsistentTag,
    /// A token without a tag (`-` in spaCy's training data, which means unknown).
    UnknownTag,
    /// An entity whose tokens are all empty or blank.
    EmptyMention,
    /// A sentence that is skipped because the dataset's description marks it as metadata.
    MetadataSentence,
    /// An entity in a metadata sentence.
    MetadataEntity,
    /// An entity that the official conversion loses or changes, see [`crate::format::Defect`].
    ConversionDefect,
    /// A mention that does not occur in the text; it is kept without a span.
    MentionNotInText,
    /// Offsets that do not give the mention, replaced by an occurrence of it in the text.
    WrongPosition,
    /// Offsets that give the mention in another unit than the description's; that unit is used.
    OtherOffsets(Offsets),
    /// A mention in several pieces, represented by the range from its first to its last character.
    Discontinuous,
    /// A repeated query of one passage: it is asked once, and the answers are joined.
    RepeatedQuery,
    /// A repeated entity: the same span and type, or a mention without offsets that the source
    /// lists more often than it occurs in the text.
    RepeatedEntity,
    /// A span or mention with white space at its ends, which was removed.
    BlankEdges,
    /// A row that starts like a comment or a document row but is a token by its columns and tags.
    TaggedComment,
    /// A byte order mark inside a file, at the start of a line.
    ByteOrderMark,
    /// A standoff text without an annotation file, treated as the description says.
    Unannotated,
    /// A record that was rejected, skipped or not annotated.
    NotAccepted,
    /// A further annotation of a text, which is skipped.
    FurtherAnnotation,
    /// A region of an annotation tool that is not an accepted, labelled entity: without a label,
    /// rejected, or in a group of spans.
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
                    "offsets in {unit} (read in that unit; set `offsets = \"{key}\"` in `[format]`)"
                );
            }
            Self::InconsistentTag => "tags that break the scheme (read as conlleval reads them)",
            Self::UnknownTag => "tokens without a tag (read as outside of entities)",
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
            Self::RepeatedQuery => "repeated queries of one passage (asked once, answers joined)",
            Self::RepeatedEntity => "repeated entities (kept once)",
            Self::BlankEdges => "entities with white space at their ends (trimmed)",
            Self::TaggedComment => "rows that start like comments but carry a tag (read as tokens)",
            Self::ByteOrderMark => "byte order marks inside a file (left out)",
            Self::Unannotated => "texts without an annotation file (treated as `unannotated` says)",
            Self::NotAccepted => {
                "records that were rejected, skipped or not annotated in the annotation tool (left out)"
            }
            Self::FurtherAnnotation => "further annotations of a text (left out)",
            Self::OtherRegion => {
                "marked regions that are not labelled, accepted entities (left out)"
            }
        };
        out.write_str(text)
    }
}

/// The number of notes of a kind, and the location of the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Occurrences {
    /// Number of notes.
    pub count: usize,
    /// The file of the first.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

/// All notes of a reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    by_kind: BTreeMap<Note, Occurrences>,
}

impl Notes {
    /// Counts a note.
    pub(crate) fn take(&mut self, note: Note, file: &Path, line: usize) {
        self.by_kind
            .entry(note)
            .and_modify(|found| found.count += 1)
            .or_insert_with(|| Occurrences { count: 1, file: file.to_owned(), line });
    }

    /// Adds the notes of another reader.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (note, found) in &other.by_kind {
            self.by_kind
                .entry(note.clone())
                .and_modify(|mine| mine.count += found.count)
                .or_insert_with(|| found.clone());
        }
    }

    /// Number of notes of a kind.
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

/// One line per kind: `3 x entities of the dropped label `misc` (first at ai/test.txt:12)`.
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
