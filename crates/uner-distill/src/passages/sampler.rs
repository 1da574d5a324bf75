//! The part of the work that depends on the passages before: duplicates, counts, and the draw.

use indexmap::IndexMap;
use uner_data::{did_you_mean, is_blank};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    Progress, Sampled,
    cut::Piece,
    cutter::Cut,
    duplicates::{Duplicates, Signature},
    quotas::quotas,
    reservoir::Reservoir,
    summary::{CorpusSummary, SubsetSummary},
};
use crate::{
    CorpusConfig, DistillError, Passage,
    corpus::{CorpusDocument, Reader},
};

/// Problems that are kept with their messages.
const PROBLEMS: usize = 20;

/// Counts passages, leaves duplicates out, and draws the sample.
pub(super) struct Sampler<'a> {
    config: &'a CorpusConfig,
    seed: u64,
    duplicates: Option<Duplicates>,
    subsets: IndexMap<String, Subset>,
    problems: Vec<String>,
    num_documents: usize,
    num_passages: usize,
}

struct Subset {
    summary: SubsetSummary,
    drawn: Reservoir,
}

impl<'a> Sampler<'a> {
    pub(super) fn new(config: &'a CorpusConfig, seed: u64) -> Self {
        let duplicates = config.duplicates.map(|duplicates| Duplicates::new(duplicates.jaccard));
        let (subsets, problems) = (IndexMap::new(), Vec::new());
        let (num_documents, num_passages) = (0, 0);
        Self { config, seed, duplicates, subsets, problems, num_documents, num_passages }
    }

    pub(super) fn take(&mut self, cut: Cut) -> Result<(), DistillError> {
        match cut {
            Cut::Document { document, passages, short } => {
                self.take_document(&document, passages, short)
            }
            Cut::Unreadable { subset, message } => {
                self.subset(&subset)?.summary.unreadable += 1;
                if self.problems.len() < PROBLEMS {
                    self.problems.push(message);
                }
                Ok(())
            }
        }
    }

    fn take_document(
        &mut self,
        document: &CorpusDocument,
        passages: Vec<(Piece, Option<Signature>)>,
        short: usize,
    ) -> Result<(), DistillError> {
        let is_blank = document.text.chars().all(is_blank);
        let num_characters = document.text.chars().count();
        self.num_documents += 1;
        self.num_passages += passages.len() + short;
        let summary = &mut self.subset(&document.subset)?.summary;
        summary.documents += 1;
        summary.blank += usize::from(is_blank);
        summary.characters += num_characters;
        summary.passages += passages.len() + short;
        summary.too_short += short;
        for (piece, signature) in passages {
            let repeats = |duplicates: &mut Duplicates| {
                signature.is_some_and(|signature| !duplicates.insert(&signature))
            };
            if self.duplicates.as_mut().is_some_and(repeats) {
                self.subset(&document.subset)?.summary.duplicates += 1;
            } else {
                self.draw(document, piece)?;
            }
        }
        Ok(())
    }

    fn draw(&mut self, document: &CorpusDocument, piece: Piece) -> Result<(), DistillError> {
        let CorpusDocument { subset, file, line, text, .. } = document;
        let id = format!("{subset}/{file}:{line}:{}", piece.span.start);
        let priority = xxh3_64_with_seed(id.as_bytes(), self.seed);
        self.subset(subset)?.drawn.offer(priority, id, |id| Passage {
            id,
            text: text[piece.bytes].to_owned(),
            subset: subset.clone(),
            document: document.id(),
            span: piece.span,
        });
        Ok(())
    }

    /// The counts of a subset.
    ///
    /// # Errors
    /// If other subsets have a weight and this one has none.
    fn subset(&mut self, name: &str) -> Result<&mut Subset, DistillError> {
        if !self.subsets.contains_key(name) {
            let weights = &self.config.sample.weights;
            if !weights.is_empty() && !weights.contains_key(name) {
                let hint = did_you_mean(name, weights.keys().map(String::as_str));
                let message = format!(
                    "has no weight of the subset `{name}`, and has others{hint}; add it, or leave \
                     all weights out"
                );
                return Err(DistillError::Config { key: "sample.weights".to_owned(), message });
            }
            let drawn = Reservoir::new(self.config.sample.passages);
            let summary = SubsetSummary::default();
            self.subsets.insert(name.to_owned(), Subset { summary, drawn });
        }
        Ok(&mut self.subsets[name])
    }

    pub(super) fn progress(&self, reader: &Reader) -> Progress {
        Progress {
            num_bytes_read: reader.num_bytes_read,
            num_bytes: reader.num_bytes,
            num_documents: self.num_documents,
            num_passages: self.num_passages,
        }
    }

    /// Draws the quota of each subset.
    pub(super) fn finish(self) -> Sampled {
        let weights = &self.config.sample.weights;
        let sizes: Vec<usize> = self.subsets.values().map(|s| s.summary.distinct()).collect();
        let by_weight =
            |(name, size): (&String, &usize)| weights.get(name).copied().unwrap_or(*size as f64);
        let shares: Vec<f64> = self.subsets.keys().zip(&sizes).map(by_weight).collect();
        let quotas = quotas(self.config.sample.passages, &shares, &sizes);
        let (mut drawn, mut subsets) = (Vec::new(), IndexMap::new());
        for ((name, mut subset), quota) in self.subsets.into_iter().zip(quotas) {
            let passages = subset.drawn.lowest(quota);
            subset.summary.sampled = passages.len();
            subset.summary.sampled_characters =
                passages.iter().map(|(_, passage)| passage.span.end - passage.span.start).sum();
            drawn.extend(passages);
            subsets.insert(name, subset.summary);
        }
        drawn.sort_by(|(a, first), (b, second)| (a, &first.id).cmp(&(b, &second.id)));
        let passages = drawn.into_iter().map(|(_, passage)| passage).collect();
        let summary = CorpusSummary { subsets, problems: self.problems, ignored_files: Vec::new() };
        Sampled { passages, summary }
    }
}
