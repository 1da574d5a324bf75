//! Examples and everything that produces them: readers of published formats, the dataset registry,
//! negative sampling, mixtures and statistics. For annotation, it reads [`documents`], cuts long
//! ones into [`windows`] and writes [`predictions`]. The crate does not depend on tensors or
//! templates.
//!
//! Reading never loses text or an entity silently: inexact representations are counted
//! ([`Notes`]), and unreadable data is an error with file and line ([`DataError`]). Spans are
//! half-open character ranges of the text.
//!
//! ```
//! use uner_data::{DatasetRef, read};
//!
//! let dataset = DatasetRef::Name("demo".to_owned()).resolve()?;
//! for example in read(&dataset, "test", "data".as_ref())?.take(3) {
//!     let example = example?;
//!     assert!(example.entities.iter().all(|entity| entity.span.is_some()));
//! }
//! # Ok::<(), uner_data::DataError>(())
//! ```

pub mod align;
pub mod benchmark;
mod brat;
mod columns;
pub mod conflicts;
pub mod convert;
pub mod dataset;
mod decode;
pub mod definitions;
pub mod demo;
pub mod detect;
pub mod documents;
pub mod domain;
mod encoding;
mod error;
pub mod example;
pub mod export;
mod folder;
pub mod format;
pub mod inventory;
mod json;
mod lines;
pub mod mixture;
pub mod negative;
pub mod notes;
pub mod official;
pub mod overlap;
mod passage;
pub mod predictions;
mod read;
mod reader;
pub mod registry;
pub mod regular;
mod relations;
mod sample;
mod seen;
#[cfg(test)]
mod shared;
mod spelling;
pub mod split;
pub mod stats;
pub mod stream;
mod text;
mod tokens;
pub mod validate;
mod visible;
pub mod warnings;
pub mod windows;
mod word;

pub use benchmark::{Access, Download, Expected, List};
pub use dataset::Dataset;
pub use error::{DataError, Problem};
pub use example::{Entity, Example, FoundEntity, FoundRelation, Mention, Relation, Span};
pub use inventory::{TypeCounts, TypeInventory};
pub use json::file::{JsonRecord, JsonRecords};
pub use json::python::as_python_reads;
pub use mixture::{Member, Mixture, Take, mix};
pub use negative::{Draw, NegativeConfig, Strategy, add_negatives};
pub use notes::{Note, Notes};
pub use read::{Examples, read};
pub use registry::DatasetRef;
pub use sample::sample_pairs;
pub use seen::SeenMentions;
pub use spelling::{did_you_mean, nearest};
pub use stats::{Stats, stats};
pub use text::is_blank;
pub use validate::{Validation, validate};
pub use visible::{middle_cut, printable, visible};
pub use word::is_inside_word;
