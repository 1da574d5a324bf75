//! From raw text to training data (UniversalNER, arXiv 2308.03279, section 3.1).
//!
//! ```text
//! corpus ─► passages ─► teacher ─► annotations ─► conversations, spans, report
//! ```

pub mod passage;

pub use passage::Passage;
