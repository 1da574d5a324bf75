//! Overlap of training data with benchmarks (contamination): passages that occur in both, n-grams
//! that occur in both, and gold entities that are also gold entities of the training data.
//!
//! The benchmarks are indexed in memory, and training data is read once, a chunk at a time:
//!
//! ```
//! use uner_data::{DatasetRef, overlap::Index, read};
//!
//! let demo = DatasetRef::Name("demo".to_owned()).resolve()?;
//! let index = Index::new([("demo:test", read(&demo, "test", "data".as_ref())?)])?;
//! let mut scan = index.scan();
//! scan.add("demo:train", read(&demo, "train", "data".as_ref())?.take(100))?;
//! let overlap = scan.overlap(10);
//! assert_eq!(overlap.training[0].num_passages, 100);
//! # Ok::<(), uner_data::DataError>(())
//! ```
//!
//! **Words.** A text is brought to Unicode's form NFKC and to lower case. Every character that is
//! not a letter, a digit or a mark separates words, and the words are those of UAX #29 between
//! these. So case, white space and punctuation do not count, and `Bob's` equals the tokens `Bob 's`
//! of a file in columns. Chinese and Japanese (except Katakana), Thai, Lao, Khmer and Burmese have
//! no spaces between words; there a word is one character, with the marks on it.
//!
//! **N-grams** are [`NGRAM`] consecutive words. A passage of fewer words, but at least
//! [`SHORTEST`], is one n-gram as a whole; a shorter one has none. Both limits are those of GPT-3
//! (Brown et al. 2020, appendix C), which has one length for all examples of a benchmark instead,
//! the fifth percentile of their lengths.
//!
//! **Exactness.** Words are compared, not only their hashes, so the counts do not depend on
//! collisions. The index needs about 40 bytes for each word of the benchmarks.

mod entities;
mod index;
mod phrases;
mod result;
mod scan;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub use index::{Index, NGRAM, SHORTEST};
pub use result::{BenchmarkOverlap, Overlap, Shared, SharedPassage, TrainingSet, TypeOverlap};
pub use scan::Scan;
