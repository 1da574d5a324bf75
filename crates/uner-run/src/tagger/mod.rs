//! Token classifiers: an encoder that gives each word a BIO tag, the supervised baseline of
//! `UniversalNER`. They are trained by the same loop as language models, and measured like them.

mod encode;
mod system;
mod train;

pub use system::{Tagger, TaggerSystem};
pub use train::{TrainedTagger, describe, train};
