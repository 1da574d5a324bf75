//! From raw text to training data (UniversalNER, arXiv 2308.03279, section 3.1).
//!
//! ```text
//! corpus ─► passages ─► teacher ─► annotations ─► conversations, spans, report
//! ```

pub mod corpus;
mod error;
pub mod passage;
pub mod passages;

pub use corpus::{CorpusConfig, DuplicateConfig, SampleConfig, SubsetConfig};
pub use error::DistillError;
pub use passage::Passage;
pub use passages::{
    CorpusSummary, Progress, Sampled, SubsetSummary, read_passages, sample_passages, write_passages,
};
