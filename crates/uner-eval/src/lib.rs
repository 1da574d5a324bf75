//! Scores, comparisons and reports. Scoring is pure: it turns strings, tags and spans into counts.
//!
//! The crate computes three scores:
//!
//! - [`official`]: sets of normalised strings per query, bit for bit the evaluator released with
//!   UniversalNER;
//! - *strict*: exact span and type, the usual entity-level F1 (the `strict` mode of [`semeval`]);
//! - *partial*: the further SemEval-2013 modes, which give credit for overlaps and for types
//!   ([`semeval`]), and the partial score of the paper ([`HalfCreditCounts`]).
//!
//! [`seqeval`] and [`instructuie`] are two other conventions behind published numbers.
//! [`score_queries`] and [`score_bio`] score files of other programs. [`measure`] asks a [`System`]
//! every query of some benchmarks and keeps its answers in a [`folder`], from which all scores can
//! be computed again; the answers of [`systems::predictions`] are files of any other program.
//! [`report`] prints the results beside [`published`] numbers, and names missing benchmarks;
//! [`page`] draws them as one HTML page, and [`reproduction`] compares them with tables of the
//! paper.

mod bio;
mod calibration;
pub mod compare;
mod error;
pub mod errors;
pub mod folder;
mod half_credit;
pub mod instructuie;
mod lines;
mod measure;
pub mod official;
pub mod page;
mod passages;
pub mod published;
mod queries;
mod rates;
mod ratio;
pub mod record;
mod relations;
pub mod report;
pub mod reproduction;
mod score;
mod scores;
pub mod semeval;
pub mod seqeval;
pub mod system;
pub mod systems;
mod tag;
pub mod uncertainty;

pub use bio::{BioReport, score_bio};
pub use calibration::{Bin, Calibration, Reliability};
pub use compare::compare;
pub use error::EvalError;
pub use folder::{Folder, Measured, Sample};
pub use half_credit::{HalfCreditCounts, HalfCreditScore};
pub use measure::{Benchmark, OnProgress, Options, measure};
pub use passages::Intervals;
pub use queries::{QueryReport, score_queries};
pub use rates::Rates;
pub use score::{DatasetReport, DatasetScorer, SeenSplit};
pub use scores::{Scores, TypeScores};
pub use system::{Answer, System};
