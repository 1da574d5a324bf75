//! The report of conflicts as data and as Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use crate::visible;

/// The conflicts of labels in and between splits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConflictReport {
    /// The splits that were read.
    pub sources: Vec<SourceSize>,
    /// Number of distinct mentions in lower case.
    pub num_mentions: usize,
    /// Number of mentions with conflicting types.
    pub num_conflicts: usize,
    /// Those with several types in one split.
    pub num_within: usize,
    /// Those with different types in two splits.
    pub num_between: usize,
    /// Mentions that occur at most this often may be missing: memory was limited.
    pub forgotten: u32,
    /// The pairs of types with most mentions in conflict.
    pub type_pairs: Vec<TypePair>,
    /// The mentions with most occurrences outside of their most frequent type.
    pub conflicts: Vec<Conflict>,
}

/// A split that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceSize {
    /// `dataset:split`.
    pub name: String,
    /// Number of examples.
    pub num_examples: usize,
    /// Number of mentions.
    pub num_entities: usize,
}

/// A type in a split, and another type in the same or another split, that mentions have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypePair {
    /// The first split.
    pub source_a: String,
    /// Its type.
    pub type_a: String,
    /// The second split; the same for inconsistent annotation.
    pub source_b: String,
    /// Its type.
    pub type_b: String,
    /// Number of distinct mentions.
    pub num_mentions: usize,
    /// Some of these, the most frequent first.
    pub mentions: Vec<String>,
}

/// A mention with conflicting types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The mention as it is first written.
    pub mention: String,
    /// Its types, the most frequent first.
    pub readings: Vec<Reading>,
}

/// A type of a mention in a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The split.
    pub source: String,
    /// The type.
    pub entity_type: String,
    /// Number of mentions.
    pub count: u32,
    /// Texts around some of them, with the mention in brackets.
    pub texts: Vec<String>,
}

impl ConflictReport {
    /// The report as Markdown: sizes, pairs of types, and mentions with their texts.
    pub fn markdown(&self) -> String {
        let mut out = "# Conflicts of labels\n\n".to_owned();
        self.write_sizes(&mut out);
        self.write_type_pairs(&mut out);
        self.write_conflicts(&mut out);
        out
    }

    fn write_sizes(&self, out: &mut String) {
        out.push_str("| split | examples | entities |\n|---|---:|---:|\n");
        for source in &self.sources {
            let (examples, entities) = (source.num_examples, source.num_entities);
            let _ = writeln!(out, "| {} | {examples} | {entities} |", cell(&source.name));
        }
        let (all, within, between) = (self.num_conflicts, self.num_within, self.num_between);
        let _ = writeln!(
            out,
            "\n{all} of {} mentions have conflicting types: {within} within a split, {between} \
             between splits (some in both).",
            self.num_mentions
        );
        if self.forgotten > 0 {
            let _ = writeln!(
                out,
                "\nMemory was limited: mentions that occur at most {} times may be missing.",
                self.forgotten
            );
        }
    }

    fn write_type_pairs(&self, out: &mut String) {
        if self.type_pairs.is_empty() {
            return;
        }
        out.push_str(
            "\n## Types\n\n| type | in | type | in | mentions | such as |\n|---|---|---|---|---:|---|\n",
        );
        for pair in &self.type_pairs {
            let mentions = cell(&pair.mentions.join(", "));
            let [type_a, source_a, type_b, source_b] =
                [&pair.type_a, &pair.source_a, &pair.type_b, &pair.source_b].map(|text| cell(text));
            let number = pair.num_mentions;
            let _ = writeln!(
                out,
                "| {type_a} | {source_a} | {type_b} | {source_b} | {number} | {mentions} |"
            );
        }
    }

    fn write_conflicts(&self, out: &mut String) {
        if self.conflicts.is_empty() {
            return;
        }
        out.push_str(
            "\n## Mentions\n\n| mention | type | in | count | text |\n|---|---|---|---:|---|\n",
        );
        for conflict in &self.conflicts {
            for reading in &conflict.readings {
                let texts: Vec<String> = reading.texts.iter().map(|text| cell(text)).collect();
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} |",
                    cell(&conflict.mention),
                    cell(&reading.entity_type),
                    cell(&reading.source),
                    reading.count,
                    texts.join("<br>")
                );
            }
        }
    }
}

/// A text as the cell of a table.
fn cell(text: &str) -> String {
    visible(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}
