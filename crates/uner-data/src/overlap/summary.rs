//! Counts of a benchmark from the marks that a scan has left.

use std::{cmp::Reverse, ops::Range};

use indexmap::IndexMap;

use super::{
    index::{Benchmark, Index, Passage, ngram_length},
    result::{BenchmarkOverlap, Shared, SharedPassage, TrainingSet, TypeOverlap},
    scan::{Firsts, Marks},
};
use crate::middle_cut;

/// Characters of a passage that an example shows at each end.
const SHOWN: usize = 100;

/// Everything about a benchmark but the numbers of single training sets and the examples.
pub(super) fn benchmark(index: &Index, benchmark: &Benchmark, marks: &Marks) -> BenchmarkOverlap {
    let passages = &benchmark.passages;
    BenchmarkOverlap {
        name: benchmark.name.clone(),
        num_passages: passages.len(),
        num_words: passages.iter().map(|passage| passage.words.len()).sum(),
        num_short: passages.iter().filter(|passage| passage.ngrams.is_empty()).count(),
        num_entities: benchmark.entities.len(),
        merged: shared(benchmark, marks),
        by_training_set: Vec::new(),
        by_type: by_type(index, benchmark, marks),
        examples: Vec::new(),
    }
}

/// The counts of a benchmark that training data has, too.
pub(super) fn shared(benchmark: &Benchmark, marks: &Marks) -> Shared {
    let passages = &benchmark.passages;
    let is_exact = |passage: &&Passage| is_exact(passage, marks);
    let covered: Vec<usize> = passages.iter().map(|passage| num_covered(passage, marks)).collect();
    let shares = passages.iter().zip(&covered).filter(|(passage, _)| !passage.ngrams.is_empty());
    let (num_compared, sum) = shares.fold((0_u32, 0.0), |(count, sum), (passage, covered)| {
        (count + 1, sum + *covered as f64 / passage.words.len() as f64)
    });
    let entities = &benchmark.entities;
    Shared {
        num_exact: passages.iter().filter(is_exact).count(),
        num_with_ngram: covered.iter().filter(|covered| **covered > 0).count(),
        mean_covered: sum / f64::from(num_compared.max(1)),
        num_entities_seen: entities.iter().filter(|key| marks.mentions[key.mention]).count(),
        num_entities_seen_with_type: entities.iter().filter(|key| marks.typed[key.typed]).count(),
    }
}

fn is_exact(passage: &Passage, marks: &Marks) -> bool {
    passage.whole.is_some_and(|whole| marks.wholes[whole as usize])
}

/// The runs of words of a passage that are covered by n-grams of the training data, as ranges that
/// start at the passage's first word. Runs that touch without a common n-gram between them are one.
fn runs(passage: &Passage, marks: &Marks) -> Vec<Range<usize>> {
    let length = ngram_length(passage.words.len()).unwrap_or(0);
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (start, &ngram) in passage.ngrams.iter().enumerate() {
        if !marks.ngrams[ngram as usize] {
            continue;
        }
        match runs.last_mut() {
            Some(run) if start <= run.end => run.end = start + length,
            _ => runs.push(start..start + length),
        }
    }
    runs
}

fn num_covered(passage: &Passage, marks: &Marks) -> usize {
    runs(passage, marks).iter().map(ExactSizeIterator::len).sum()
}

fn by_type(index: &Index, benchmark: &Benchmark, marks: &Marks) -> Vec<TypeOverlap> {
    let mut types: IndexMap<usize, TypeOverlap> = IndexMap::new();
    for key in &benchmark.entities {
        let found = types.entry(key.entity_type).or_insert_with(|| TypeOverlap {
            entity_type: index.entities.type_name(key.entity_type).to_owned(),
            num_entities: 0,
            num_seen: 0,
            num_seen_with_type: 0,
        });
        found.num_entities += 1;
        found.num_seen += usize::from(marks.mentions[key.mention]);
        found.num_seen_with_type += usize::from(marks.typed[key.typed]);
    }
    let mut types: Vec<TypeOverlap> = types.into_values().collect();
    types.sort_by(|a, b| {
        b.num_entities.cmp(&a.num_entities).then_with(|| a.entity_type.cmp(&b.entity_type))
    });
    types
}

/// A passage that training data has, at least in part.
struct Overlapping<'a> {
    passage: &'a Passage,
    is_exact: bool,
    num_covered: usize,
    /// Its longest covered run; all of it if it is too short for n-grams.
    longest: Range<usize>,
}

/// The passages with the largest overlap, at most `most`.
pub(super) fn examples(
    index: &Index,
    benchmark: &Benchmark,
    marks: &Marks,
    firsts: &Firsts,
    sets: &[TrainingSet],
    most: usize,
) -> Vec<SharedPassage> {
    let found = benchmark.passages.iter().filter_map(|passage| overlapping(passage, marks));
    let mut found: Vec<Overlapping<'_>> = found.collect();
    // Stable, so equal passages stay in the order of the benchmark.
    found.sort_by(|a, b| {
        let key = |of: &Overlapping<'_>| Reverse(of.is_exact);
        key(a).cmp(&key(b)).then_with(|| b.share().total_cmp(&a.share()))
    });
    found.iter().take(most).map(|passage| passage.shown(index, firsts, sets)).collect()
}

fn overlapping<'a>(passage: &'a Passage, marks: &Marks) -> Option<Overlapping<'a>> {
    let (is_exact, runs) = (is_exact(passage, marks), runs(passage, marks));
    // The first of the longest: `max_by_key` returns the last maximum.
    let longest = runs.iter().rev().max_by_key(|run| run.len()).cloned();
    let longest = longest.or_else(|| is_exact.then_some(0..passage.words.len()))?;
    let num_covered = runs.iter().map(ExactSizeIterator::len).sum();
    Some(Overlapping { passage, is_exact, num_covered, longest })
}

impl Overlapping<'_> {
    fn share(&self) -> f64 {
        self.num_covered as f64 / self.passage.words.len() as f64
    }

    fn shown(&self, index: &Index, firsts: &Firsts, sets: &[TrainingSet]) -> SharedPassage {
        let first = match self.passage.whole {
            Some(whole) if self.is_exact => firsts.wholes[whole as usize],
            _ => firsts.ngrams[self.passage.ngrams[self.longest.start] as usize],
        };
        let (set, training_id) = &firsts.passages[first as usize];
        let start = self.passage.words.start;
        let words = index.words.slice(start + self.longest.start..start + self.longest.end);
        SharedPassage {
            id: self.passage.id.clone(),
            is_exact: self.is_exact,
            covered: self.share(),
            words: middle_cut(words, SHOWN),
            training_set: sets[*set].name.clone(),
            training_id: training_id.clone(),
        }
    }
}
