//! The sizes of splits, and of each type in them.

use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;

use super::{NAMES, Splits};
use crate::visible;

/// The sizes of splits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitReport {
    /// The splits that have a share.
    pub splits: Vec<SplitSize>,
    /// The types by descending number of mentions.
    pub types: Vec<TypeRow>,
    /// Texts that occur again; each is in the split of its first occurrence.
    pub num_repeated_texts: usize,
}

/// The size of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitSize {
    /// `train`, `validation` or `test`.
    pub name: &'static str,
    /// Number of examples.
    pub num_examples: usize,
    /// Number of groups of examples that stay together.
    pub num_groups: usize,
    /// Number of mentions.
    pub num_entities: usize,
    /// Types of the data that the split lacks.
    pub lacks: Vec<String>,
}

/// The mentions of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeRow {
    /// The type.
    pub name: String,
    /// Number of mentions in each split, in the order of the splits.
    pub counts: Vec<usize>,
}

impl Splits {
    /// Counts the examples and mentions of each split.
    pub fn report(&self) -> SplitReport {
        let wanted: Vec<usize> = (0..3).filter(|&split| self.is_wanted[split]).collect();
        let mut types: IndexMap<&str, Vec<usize>> = IndexMap::new();
        for (place, &split) in wanted.iter().enumerate() {
            for entity in self.examples[split].iter().flat_map(|example| &example.entities) {
                types.entry(&entity.entity_type).or_insert_with(|| vec![0; wanted.len()])[place] +=
                    1;
            }
        }
        let mut types: Vec<TypeRow> = types
            .into_iter()
            .map(|(name, counts)| TypeRow { name: name.to_owned(), counts })
            .collect();
        types.sort_by(|a, b| {
            let total = |row: &TypeRow| row.counts.iter().sum::<usize>();
            total(b).cmp(&total(a)).then_with(|| a.name.cmp(&b.name))
        });
        let size = |(place, &split): (usize, &usize)| SplitSize {
            name: NAMES[split],
            num_examples: self.examples[split].len(),
            num_groups: self.num_groups[split],
            num_entities: types.iter().map(|row| row.counts[place]).sum(),
            lacks: types
                .iter()
                .filter(|row| row.counts[place] == 0)
                .map(|row| row.name.clone())
                .collect(),
        };
        SplitReport {
            splits: wanted.iter().enumerate().map(size).collect(),
            num_repeated_texts: self.num_repeated_texts,
            types,
        }
    }
}

/// Formats the sizes as tables for a terminal.
impl fmt::Display for SplitReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<12} {:>9} {:>9} {:>9}", "split", "examples", "groups", "entities")?;
        for split in &self.splits {
            let (name, examples, groups) = (split.name, split.num_examples, split.num_groups);
            writeln!(out, "{name:<12} {examples:>9} {groups:>9} {:>9}", split.num_entities)?;
        }
        if self.num_repeated_texts > 0 {
            let number = self.num_repeated_texts;
            writeln!(out, "{number} texts occur again; equal texts are in one split")?;
        }
        let names = self.types.iter().map(|row| visible(&row.name).chars().count());
        let width = names.max().unwrap_or(0).max(4);
        write!(out, "\n{:<width$}", "type")?;
        self.splits.iter().try_for_each(|split| write!(out, " {:>10}", split.name))?;
        writeln!(out)?;
        for row in &self.types {
            write!(out, "{:<width$}", visible(&row.name))?;
            row.counts.iter().try_for_each(|count| write!(out, " {count:>10}"))?;
            writeln!(out)?;
        }
        for split in self.splits.iter().filter(|split| !split.lacks.is_empty()) {
            let lacks = visible(&split.lacks.join(", "));
            writeln!(out, "`{}` has no mention of: {lacks}", split.name)?;
        }
        Ok(())
    }
}
