//! The share of each benchmark that is in the training data.

use crate::page::markup::{count, isolated, number, percent, row, row_head, table};
use crate::report::Report;

/// A table, if the training data is known.
pub(super) fn overlap(report: &Report) -> String {
    let Some(overlap) = &report.overlap else { return String::new() };
    let share = |part: usize, whole: usize| {
        number(&format!("{} ({} %)", count(part), percent(part as f64 / whole.max(1) as f64)))
    };
    let mut rows = String::new();
    for benchmark in &overlap.benchmarks {
        let shared = benchmark.merged;
        let (passages, entities) = (benchmark.num_passages, benchmark.num_entities);
        rows += &row(&[
            row_head(&isolated(&benchmark.name)),
            number(&count(passages)),
            share(shared.num_exact, passages),
            share(shared.num_with_ngram, passages - benchmark.num_short),
            number(&count(entities)),
            share(shared.num_entities_seen, entities),
            share(shared.num_entities_seen_with_type, entities),
        ]);
    }
    let heads = ["benchmark", "passages", "exact", "with 13-gram", "entities", "seen", "with type"];
    let caption = "Passages and entities that the training data has, too.";
    let table = table(caption, &heads, &["benchmark"], &rows);
    format!("<section><h2>Benchmarks in the training data</h2>\n{table}</section>\n")
}
