//! From a corpus to a sample of its passages.
//!
//! ```text
//! documents ─► cut ─► long enough ─► no duplicate ─► drawn ─► passages.jsonl
//! ```
//!
//! The corpus is read once, a chunk of documents at a time. Cutting and signatures run on all
//! threads of rayon's pool; duplicates and the draw are decided one passage after the other, in the
//! order of the corpus. The result therefore does not depend on the number of threads.
//!
//! **Memory.** Two chunks of 4 MiB (or one document each, if it is larger), the drawn passages (at
//! most `sample.passages` of each subset until the end is reached), and about 0.5 kB for each
//! passage of the corpus if duplicates are looked for.

mod cut;
mod cutter;
mod duplicates;
mod file;
mod quotas;
mod reservoir;
mod sampler;
mod summary;

use std::ops::ControlFlow;

use unicode_segmentation::UnicodeSegmentation;

use crate::{
    CorpusConfig, DistillError, Passage,
    corpus::{Found, Reader},
};
use cutter::Cutter;
use duplicates::Signer;
use sampler::Sampler;

pub use file::write_passages;
pub use summary::{CorpusSummary, SubsetSummary};

/// A chunk ends with the document at which its texts have this many bytes.
const CHUNK_BYTES: usize = 4 << 20;
/// Largest number of documents in a chunk.
const CHUNK: usize = 4_096;

/// A sample of the passages of a corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The passages in the order in which they were drawn. The first *n* of them are a sample, too.
    pub passages: Vec<Passage>,
    /// Counts by subset.
    pub summary: CorpusSummary,
}

/// How far the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the files that were read to their ends.
    pub num_bytes_read: u64,
    /// Bytes of all files, as they are on disk.
    pub num_bytes: u64,
    /// Documents that were read.
    pub num_documents: usize,
    /// Passages that were cut.
    pub num_passages: usize,
}

/// Reads a corpus, cuts its documents to passages, and draws a sample of these.
///
/// `fits` says whether a text has at most [`CorpusConfig::max_tokens`] tokens. It need not be
/// monotone, and is called on several threads. Passages end at sentence ends where they can
/// ([`uner_data::windows::windows`]), do not overlap, and cover their document, except for white
/// space.
///
/// With [`CorpusConfig::duplicates`], a passage is left out if it is similar to one before it in
/// the corpus, of any subset, that was not left out. The sample is drawn from the passages that are
/// left. Each subset gets its share of [`crate::SampleConfig::passages`] by weight, rounded by
/// largest remainders; what a subset with too few passages cannot fill is divided among the others.
/// A passage is drawn by the hash of `seed` and its id, so a larger sample contains a smaller one
/// of the same weights wherever each subset's share is larger.
///
/// `on_progress` is called after each chunk; `Break` stops the reading.
///
/// # Errors
/// A configuration that is not possible, a file that cannot be read, a subset without a weight or
/// without a readable document, a character that alone does not fit, and `Break`. A single
/// document that cannot be read is counted.
///
/// ```
/// use std::ops::ControlFlow;
/// use uner_distill::{CorpusConfig, sample_passages};
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("a.txt"), "Ada came. Zoë left. Bob stayed.")?;
/// let config: CorpusConfig = toml::from_str("[subsets.notes]\npaths = ['a.txt']")?;
/// let config = config.relative_to(folder.path());
/// let fits = |text: &str| text.split_whitespace().count() <= 4;
/// let sampled = sample_passages(&config, 0, fits, &mut |_| ControlFlow::Continue(()))?;
/// let mut texts: Vec<&str> = sampled.passages.iter().map(|p| p.text.as_str()).collect();
/// texts.sort();
/// assert_eq!(texts, ["Ada came. Zoë left.", "Bob stayed."]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sample_passages(
    config: &CorpusConfig,
    seed: u64,
    fits: impl Fn(&str) -> bool + Sync,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Sampled, DistillError> {
    config.check()?;
    let (mut reader, ignored) = Reader::new(config)?;
    let mut sampler = Sampler::new(config, seed);
    let signer = config.duplicates.map(|_| Signer::new());
    let cutter = Cutter { fits, min_characters: config.min_characters, signer };
    let mut chunk = next_chunk(&mut reader)?;
    while !chunk.is_empty() {
        let (cut, next) = rayon::join(|| cutter.cut_all(chunk), || next_chunk(&mut reader));
        for item in cut {
            sampler.take(item?)?;
        }
        if on_progress(sampler.progress(&reader)).is_break() {
            return Err(DistillError::Stopped);
        }
        chunk = next?;
    }
    let mut sampled = sampler.finish();
    sampled.summary.ignored_files = ignored;
    Ok(sampled)
}

/// Words and punctuation marks of a text (UAX #29), for passages that are not counted in tokens.
pub fn num_words(text: &str) -> usize {
    text.split_word_bounds().filter(|word| !word.trim().is_empty()).count()
}

fn next_chunk(reader: &mut Reader) -> Result<Vec<Found>, DistillError> {
    let (mut chunk, mut num_bytes) = (Vec::new(), 0);
    while chunk.len() < CHUNK && num_bytes < CHUNK_BYTES {
        let Some(found) = reader.next().transpose()? else { break };
        if let Found::Document(document) = &found {
            num_bytes += document.text.len();
        }
        chunk.push(found);
    }
    Ok(chunk)
}

#[cfg(test)]
mod real_text_tests;
#[cfg(test)]
mod tests;
