//! The tables of an overlap for a terminal.

use std::fmt;

use super::result::{BenchmarkOverlap, Overlap, Shared};
use crate::visible;

/// Formats the overlap as tables for a terminal. Shares are in percent.
impl fmt::Display for Overlap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_training(out)?;
        self.write_passages(out)?;
        self.write_entities(out)?;
        for benchmark in &self.benchmarks {
            write_types(benchmark, out)?;
        }
        for benchmark in &self.benchmarks {
            write_examples(benchmark, out)?;
        }
        Ok(())
    }
}

impl Overlap {
    fn write_training(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.training.iter().map(|set| visible(&set.name)).collect();
        let width = width("training set", &names);
        writeln!(
            out,
            "{:<width$} {:>11} {:>13} {:>11}",
            "training set", "passages", "words", "entities"
        )?;
        for (set, name) in self.training.iter().zip(&names) {
            let (passages, words, entities) = (set.num_passages, set.num_words, set.num_entities);
            writeln!(out, "{name:<width$} {passages:>11} {words:>13} {entities:>11}")?;
        }
        Ok(())
    }

    /// The rows of all benchmarks: the merged numbers, then those of each set if there are several.
    fn rows(&self) -> Vec<(&BenchmarkOverlap, String, &Shared)> {
        let mut rows = Vec::new();
        for benchmark in &self.benchmarks {
            rows.push((benchmark, visible(&benchmark.name), &benchmark.merged));
            if self.training.len() > 1 {
                let sets = self.training.iter().zip(&benchmark.by_training_set);
                rows.extend(sets.map(|(set, shared)| {
                    (benchmark, format!("  in {}", visible(&set.name)), shared)
                }));
            }
        }
        rows
    }

    fn write_passages(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = width("benchmark", rows.iter().map(|(_, name, _)| name));
        writeln!(
            out,
            "\n{:<width$} {:>8} {:>7} {:>16} {:>16} {:>8}",
            "benchmark", "passages", "short", "exact", "with n-gram", "covered"
        )?;
        for (benchmark, name, shared) in rows {
            let (passages, short) = (benchmark.num_passages, benchmark.num_short);
            let exact = with_share(shared.num_exact, passages);
            let with_ngram = with_share(shared.num_with_ngram, passages - short);
            let covered = 100.0 * shared.mean_covered;
            writeln!(
                out,
                "{name:<width$} {passages:>8} {short:>7} {exact:>16} {with_ngram:>16} {covered:>6.1} %"
            )?;
        }
        Ok(())
    }

    fn write_entities(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = width("benchmark", rows.iter().map(|(_, name, _)| name));
        writeln!(
            out,
            "\n{:<width$} {:>8} {:>16} {:>16}",
            "benchmark", "entities", "seen", "with type"
        )?;
        for (benchmark, name, shared) in rows {
            let entities = benchmark.num_entities;
            let seen = with_share(shared.num_entities_seen, entities);
            let typed = with_share(shared.num_entities_seen_with_type, entities);
            writeln!(out, "{name:<width$} {entities:>8} {seen:>16} {typed:>16}")?;
        }
        Ok(())
    }
}

fn write_types(benchmark: &BenchmarkOverlap, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let names: Vec<String> =
        benchmark.by_type.iter().map(|found| visible(&found.entity_type)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let title = format!("types of {}", visible(&benchmark.name));
    let width = width(&title, &names);
    writeln!(out, "\n{title:<width$} {:>8} {:>16} {:>16}", "entities", "seen", "with type")?;
    for (found, name) in benchmark.by_type.iter().zip(&names) {
        let entities = found.num_entities;
        let seen = with_share(found.num_seen, entities);
        let typed = with_share(found.num_seen_with_type, entities);
        writeln!(out, "{name:<width$} {entities:>8} {seen:>16} {typed:>16}")?;
    }
    Ok(())
}

fn write_examples(benchmark: &BenchmarkOverlap, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if benchmark.examples.is_empty() {
        return Ok(());
    }
    writeln!(out, "\npassages of {} in training data", visible(&benchmark.name))?;
    for found in &benchmark.examples {
        let extent = if found.is_exact {
            "exact".to_owned()
        } else {
            format!("{:.0} %", 100.0 * found.covered)
        };
        let (id, set) = (visible(&found.id), visible(&found.training_set));
        let (training_id, words) = (visible(&found.training_id), visible(&found.words));
        writeln!(out, "{id} ({extent}) is in {set}, {training_id}: {words}")?;
    }
    Ok(())
}

/// A count with its share of `whole`: `12 (3.4 %)`.
fn with_share(count: usize, whole: usize) -> String {
    format!("{count} ({:.1} %)", 100.0 * count as f64 / whole.max(1) as f64)
}

/// The width of a column in characters.
fn width<'a>(title: &str, cells: impl IntoIterator<Item = &'a String>) -> usize {
    let cells = cells.into_iter().map(|cell| cell.chars().count());
    cells.chain([title.chars().count()]).max().unwrap_or(0)
}
