//! The files of a run: passages, the description of the run, and answers.

mod answers;
mod atomic;
mod description;
mod passages;
mod shard;
#[cfg(test)]
mod tests;

pub use answers::{ANSWERS, AnswerRecord};
pub(crate) use answers::{AnswerReader, AnswerWriter, Index};
pub(crate) use atomic::AtomicFile;
pub use description::{Description, RUN};
pub use passages::Fingerprint;
pub(crate) use passages::Passages;
pub use shard::Shard;
