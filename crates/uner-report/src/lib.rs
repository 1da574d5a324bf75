//! The metrics of one or more runs as one HTML page that needs no other file.
//!
//! [`Course::read`] reads `metrics.jsonl` (of an unfinished run, too) and `recipe.toml` in a run's
//! folder; [`page`] draws them.

mod course;
mod draw;
mod page;

pub use course::{Course, ReportError, Series};
pub use page::page;
