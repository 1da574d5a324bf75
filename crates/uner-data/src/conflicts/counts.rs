//! Counts the types of mentions, and finds the mentions with several.

use std::{cmp::Reverse, collections::HashMap};

use indexmap::{IndexMap, IndexSet};

use super::{
    ConflictConfig, ConflictReport, SourceSize, Texts, key,
    report::{Conflict, Reading, TypePair},
};
use crate::{Entity, inventory::fold};

/// The hash of a mention.
pub(super) type Key = u64;

/// How often a mention has a type in a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    source: usize,
    of_type: usize,
    number: u32,
}

/// A type in a source, and another type in the same or another source.
type Pair = (usize, usize, usize, usize);

pub(super) struct Counts {
    config: ConflictConfig,
    /// Folded types, with the first spelling of each.
    types: IndexMap<String, String>,
    mentions: HashMap<Key, Vec<Count>>,
    /// Mentions of at most this number of occurrences may have been forgotten.
    forgotten: u32,
}

impl Counts {
    pub(super) fn new(config: &ConflictConfig) -> Self {
        let (types, mentions) = (IndexMap::new(), HashMap::new());
        Self { config: *config, types, mentions, forgotten: 0 }
    }

    pub(super) fn type_index(&self, entity_type: &str) -> Option<usize> {
        self.types.get_index_of(&fold(entity_type))
    }

    pub(super) fn add(&mut self, source: usize, entity: &Entity) {
        let entry = self.types.entry(fold(&entity.entity_type));
        let of_type = entry.index();
        entry.or_insert_with(|| entity.entity_type.clone());
        let counts = self.mentions.entry(key(entity)).or_default();
        match counts.iter_mut().find(|count| (count.source, count.of_type) == (source, of_type)) {
            Some(count) => count.number = count.number.saturating_add(1),
            None => counts.push(Count { source, of_type, number: 1 }),
        }
        if self.mentions.len() > self.config.max_mentions {
            self.forget();
        }
    }

    /// Forgets the rarest mentions, as lossy counting does (Manku and Motwani 2002), until half of
    /// the limit is free.
    fn forget(&mut self) {
        while self.mentions.len() > self.config.max_mentions / 2 {
            self.forgotten += 1;
            let most = self.forgotten;
            self.mentions
                .retain(|_, counts| counts.iter().map(|count| count.number).sum::<u32>() > most);
        }
    }

    /// The conflicts, the most frequent ones first, still without texts.
    pub(super) fn found(&self, sources: Vec<SourceSize>) -> Found {
        let counted = self.mentions.iter().map(|(key, counts)| {
            let often = |count: &&Count| count.number >= self.config.min_count;
            let counts: Vec<Count> = counts.iter().filter(often).copied().collect();
            let pairs = pairs(&counts);
            (*key, counts, pairs)
        });
        let mut conflicts: Vec<(Key, Vec<Count>, Vec<Pair>)> =
            counted.filter(|(_, _, pairs)| !pairs.is_empty()).collect();
        conflicts.sort_by_key(|(key, counts, _)| (Reverse(minority(counts)), *key));
        let is_within = |pair: &Pair| pair.0 == pair.2;
        let num_within =
            conflicts.iter().filter(|(_, _, pairs)| pairs.iter().any(is_within)).count();
        let num_between =
            conflicts.iter().filter(|(_, _, pairs)| !pairs.iter().all(is_within)).count();
        let (type_pairs, pair_keys) = self.type_pairs(&conflicts, &sources);
        let listed = &conflicts[..conflicts.len().min(self.config.listed)];
        let rows = listed.iter().map(|(_, counts, _)| self.row(counts, &sources)).collect();
        let report = ConflictReport {
            num_mentions: self.mentions.len(),
            num_conflicts: conflicts.len(),
            num_within,
            num_between,
            forgotten: self.forgotten,
            type_pairs,
            conflicts: rows,
            sources,
        };
        let counts = listed.iter().map(|(key, counts, _)| (*key, counts.clone())).collect();
        Found { report, counts, pair_keys }
    }

    fn row(&self, counts: &[Count], sources: &[SourceSize]) -> Conflict {
        let readings = counts.iter().map(|count| Reading {
            source: sources[count.source].name.clone(),
            entity_type: self.types[count.of_type].clone(),
            count: count.number,
            texts: Vec::new(),
        });
        Conflict { mention: String::new(), readings: readings.collect() }
    }

    /// The pairs of types with most mentions, and the mentions that stand for each.
    fn type_pairs(
        &self,
        conflicts: &[(Key, Vec<Count>, Vec<Pair>)],
        sources: &[SourceSize],
    ) -> (Vec<TypePair>, Vec<Vec<Key>>) {
        let mut found: IndexMap<Pair, (usize, Vec<Key>)> = IndexMap::new();
        for (key, _, pairs) in conflicts {
            for pair in pairs {
                let (number, keys) = found.entry(*pair).or_default();
                *number += 1;
                if keys.len() < SHOWN {
                    keys.push(*key);
                }
            }
        }
        let mut found: Vec<(Pair, (usize, Vec<Key>))> = found.into_iter().collect();
        found.sort_by_key(|(pair, (number, _))| (Reverse(*number), *pair));
        found.truncate(self.config.listed);
        let row = |((source_a, type_a, source_b, type_b), number): (Pair, usize)| TypePair {
            source_a: sources[source_a].name.clone(),
            type_a: self.types[type_a].clone(),
            source_b: sources[source_b].name.clone(),
            type_b: self.types[type_b].clone(),
            num_mentions: number,
            mentions: Vec::new(),
        };
        found.into_iter().map(|(pair, (number, keys))| (row((pair, number)), keys)).unzip()
    }
}

/// Mentions that are shown of a pair of types.
const SHOWN: usize = 5;

/// Mentions with another type than the most frequent one.
fn minority(counts: &[Count]) -> u64 {
    let mut by_type: IndexMap<usize, u64> = IndexMap::new();
    for count in counts {
        *by_type.entry(count.of_type).or_default() += u64::from(count.number);
    }
    by_type.values().sum::<u64>() - by_type.values().max().copied().unwrap_or(0)
}

/// The conflicting pairs of a mention: two types in one source, and two types in two sources of
/// which neither source has the other's.
fn pairs(counts: &[Count]) -> Vec<Pair> {
    let mut found: IndexSet<Pair> = IndexSet::new();
    let has = |source: usize, of_type: usize| {
        counts.iter().any(|count| (count.source, count.of_type) == (source, of_type))
    };
    for (at, first) in counts.iter().enumerate() {
        for second in &counts[at + 1..] {
            if first.of_type == second.of_type {
                continue;
            }
            let within = first.source == second.source;
            if within || !(has(first.source, second.of_type) || has(second.source, first.of_type)) {
                let (a, b) = ((first.source, first.of_type), (second.source, second.of_type));
                let (a, b) = (a.min(b), a.max(b));
                found.insert((a.0, a.1, b.0, b.1));
            }
        }
    }
    found.into_iter().collect()
}

/// The report, and the mentions whose texts it lacks.
pub(super) struct Found {
    pub(super) report: ConflictReport,
    counts: Vec<(Key, Vec<Count>)>,
    pair_keys: Vec<Vec<Key>>,
}

impl Found {
    /// The mentions whose texts are shown.
    pub(super) fn wanted(&self) -> Vec<Key> {
        let listed = self.counts.iter().map(|(key, _)| *key);
        listed.chain(self.pair_keys.iter().flatten().copied()).collect()
    }

    pub(super) fn fill(&mut self, texts: &Texts) {
        let mention = |key: &Key| texts.mentions.get(key).cloned().flatten().unwrap_or_default();
        for ((key, counts), row) in self.counts.iter().zip(&mut self.report.conflicts) {
            row.mention = mention(key);
            for (count, reading) in counts.iter().zip(&mut row.readings) {
                let place = (*key, count.source, count.of_type);
                reading.texts = texts.found.get(&place).cloned().unwrap_or_default();
            }
            row.readings.sort_by_key(|reading| Reverse(reading.count));
        }
        for (keys, row) in self.pair_keys.iter().zip(&mut self.report.type_pairs) {
            row.mentions = keys.iter().map(mention).collect();
        }
    }
}
