//! Scores, comparisons and reports. Scoring is pure: it turns strings, tags and spans into counts.
//!
//! The crate computes three scores:
//!
//! - [`official`]: sets of normalised strings per query, bit for bit the evaluator released with
//!   UniversalNER;
//! - *strict*: exact span and type, the usual entity-level F1 (the `strict` mode of [`semeval`]);
//! - *partial*: the further SemEval-2013 modes, which give credit for overlaps and for types
//!   ([`semeval`]).
//!
//! [`seqeval`] and [`instructuie`] are two other conventions behind published numbers.
//! [`score_queries`] and [`score_bio`] score files; [`DatasetScorer`] scores a run example by
//! example. [`report`] prints the results beside [`published`] numbers, and names missing
//! benchmarks.

mod bio;
mod calibration;
mod error;
pub mod instructuie;
mod lines;
mod measure;
pub mod official;
pub mod published;
mod queries;
mod ratio;
pub mod report;
mod score;
mod scores;
pub mod semeval;
pub mod seqeval;
mod tag;

pub use bio::{BioReport, score_bio};
pub use calibration::{Bin, Calibration, Reliability};
pub use error::EvalError;
pub use measure::{Benchmark, OnProgress, measure};
pub use queries::{QueryReport, score_queries};
pub use score::{DatasetReport, DatasetScorer, QueryPrediction, SeenSplit};
pub use scores::{Scores, TypeScores};
