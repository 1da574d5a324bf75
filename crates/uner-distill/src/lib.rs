//! From raw text to training data (UniversalNER, arXiv 2308.03279, section 3.1).
//!
//! ```text
//! corpus ─► passages ─► teacher ─► annotations ─► conversations, spans, report
//! ```

pub mod annotate;
pub mod answer;
pub mod corpus;
mod error;
pub mod filter;
pub mod folder;
mod merge;
pub mod output;
pub mod passage;
pub mod passages;
pub mod report;
pub mod teacher;

pub use annotate::Annotation;
pub use corpus::{CorpusConfig, DuplicateConfig, SampleConfig, SubsetConfig};
pub use error::DistillError;
pub use merge::merge;
pub use output::build;
pub use passage::Passage;
pub use passages::{
    CorpusSummary, Progress, Sampled, SubsetSummary, sample_passages, write_passages,
};
pub use report::DistillReport;
pub use teacher::Teacher;
