//! A corpus: named subsets of documents in files, read one document at a time.

mod config;
mod files;
mod reader;

pub use config::{CorpusConfig, DuplicateConfig, SampleConfig, SubsetConfig};
pub(crate) use reader::{CorpusDocument, Found, Reader};

#[cfg(test)]
mod tests;
