//! Uncertainty of scores and comparisons of two systems, from the counts of each passage.
//!
//! A score is measured on a sample of passages, and another sample would give another score:
//!
//! - [`bootstrap()`] returns the interval of a micro F1, [`bootstrap_macro`] of the average over
//!   datasets (Efron & Tibshirani 1993, chapter 13);
//! - [`bootstrap_difference`] and [`bootstrap_macro_difference`] return the interval of the
//!   difference of two systems that answered the same passages;
//! - [`approximate_randomization`] tests whether that difference could be chance (Noreen 1989; Yeh
//!   2000, "More accurate tests for the statistical significance of result differences");
//! - [`holm()`] corrects the p-values of several comparisons.
//!
//! All of them resample or swap whole passages, because the entities of one passage depend on each
//! other. Passages count as independent: sentences of one document, which are not, belong in one
//! [`Counts`]. The uncertainty is that of the choice of passages, not of training with another
//! seed.
//!
//! Random numbers are those of `ChaCha8` with one stream per resample, so a result depends on the
//! seed, and neither on the number of threads nor on the order of the passages.

mod bootstrap;
mod counts;
mod error;
mod holm;
mod interval;
mod randomization;
mod resample;
mod stream;

pub use bootstrap::{
    Resampling, bootstrap, bootstrap_difference, bootstrap_macro, bootstrap_macro_difference,
};
pub use counts::{Counts, micro_f1};
pub use error::UncertaintyError;
pub use holm::holm;
pub use interval::Interval;
pub use randomization::{Paired, approximate_randomization};
