//! The tables of a report.

use comfy_table::{CellAlignment, Table, TableStyle, presets};

use uner_data::overlap::Overlap;

use super::{BesideAverages, MacroAverage, Outcome, Report};
use crate::errors::TypePair;
use crate::published::{Metric, Published, notes};
use crate::semeval::ModeScore;
use crate::{Bin, DatasetReport, Intervals, Rates, Reliability, Scores};

/// Pairs of confused types that are shown of each dataset.
const CONFUSIONS: usize = 10;

pub(super) fn terminal(report: &Report, calibration: bool) -> String {
    render(report, "", presets::UTF8_FULL_CONDENSED, calibration)
}

pub(super) fn markdown(report: &Report) -> String {
    let mut text = render(report, "## ", presets::ASCII_MARKDOWN, true);
    if !report.published.is_empty() {
        text += "\n## Notes on published numbers\n\n";
        text.extend(notes().iter().map(|note| format!("- {note}\n")));
    }
    text
}

fn render(report: &Report, heading: &str, style: TableStyle, calibration: bool) -> String {
    let mut sections = vec![("Scores (percent)".to_owned(), overview(report))];
    if report.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Missing { .. })) {
        sections.push(("Missing benchmarks".to_owned(), missing(report)));
    }
    for outcome in &report.outcomes {
        if let Outcome::Scored(report) = outcome {
            let title = format!("{} by entity type (percent)", report.dataset);
            sections.push((title, by_type(report)));
        }
    }
    if report.domains.len() > 1 {
        sections.push(("Domains (macro averages, percent)".to_owned(), by_domain(report)));
    }
    sections.push(("Flaws of answers, and errors".to_owned(), flaws(report)));
    sections.extend(confusions(report));
    for outcome in report.outcomes.iter().filter(|_| calibration) {
        if let Outcome::Scored(report) = outcome {
            sections.extend(reliabilities(report));
        }
    }
    if !report.published.is_empty() {
        sections.push(("Published F1 (percent)".to_owned(), beside_published(report)));
    }
    sections.extend(beside_averages(report));
    sections.extend(report.overlap.as_ref().map(overlap));
    let sections = sections.into_iter().map(|(title, mut table)| {
        table.load_style(style);
        format!("{heading}{title}\n\n{table}\n")
    });
    sections.collect::<Vec<_>>().join("\n")
}

/// One row per benchmark, including missing ones, then the average.
fn overview(report: &Report) -> Table {
    let seen = report
        .outcomes
        .iter()
        .any(|outcome| matches!(outcome, Outcome::Scored(r) if r.seen_split.is_some()));
    let mut header = vec![
        "dataset",
        "passages",
        "official F1",
        "strict P",
        "strict R",
        "strict F1",
        "partial F1",
        "half-credit F1",
        "strict F1, 95 %",
    ];
    if seen {
        header.extend(["strict F1 seen", "strict F1 unseen"]);
    }
    let mut table = table(&header);
    for outcome in &report.outcomes {
        let mut row = match outcome {
            Outcome::Scored(report) => scored_row(report),
            Outcome::Missing { dataset, .. } => vec![dataset.clone(), "missing".to_owned()],
        };
        row.resize(header.len(), String::new());
        table.add_row(row);
    }
    if let Some(average) = report.macro_average {
        let over = format!(
            "macro over {} of {}",
            average.num_scored,
            average.num_scored + average.num_missing
        );
        let MacroAverage { official_f1, strict_f1, partial_f1, half_credit_f1, .. } = average;
        let mut row = vec![over, String::new(), percent(official_f1), String::new(), String::new()];
        row.extend([strict_f1, partial_f1, half_credit_f1].map(percent));
        row.resize(header.len(), String::new());
        table.add_row(row);
    }
    table
}

fn missing(report: &Report) -> Table {
    let mut table = Table::new();
    table.set_header(["dataset", "why"]);
    for outcome in &report.outcomes {
        if let Outcome::Missing { dataset, reason } = outcome {
            table.add_row([dataset, reason]);
        }
    }
    table
}

fn scored_row(report: &DatasetReport) -> Vec<String> {
    let Scores { official, semeval, .. } = &report.scores;
    let ModeScore { precision, recall, f1, .. } = semeval.strict;
    let mut row = vec![report.dataset.clone(), report.num_examples.to_string()];
    row.extend([official.f1, precision, recall, f1, semeval.partial.f1].map(percent));
    row.push(percent(report.half_credit.f1));
    row.push(report.intervals.map_or_else(String::new, |Intervals { strict, .. }| {
        format!("{} to {}", percent(strict.low), percent(strict.high))
    }));
    if let Some(split) = report.seen_split {
        row.extend(
            [split.seen, split.unseen]
                .map(|part| format!("{} ({})", percent(part.f1), part.possible)),
        );
    }
    row
}

fn by_type(report: &DatasetReport) -> Table {
    let mut table = table(&[
        "entity type",
        "gold",
        "official F1",
        "strict P",
        "strict R",
        "strict F1",
        "partial F1",
    ]);
    for (name, scores) in &report.scores.per_type {
        let ModeScore { precision, recall, f1, possible, .. } = scores.semeval.strict;
        let mut row = vec![name.clone(), possible.to_string()];
        row.extend(
            [scores.official.f1, precision, recall, f1, scores.semeval.partial.f1].map(percent),
        );
        table.add_row(row);
    }
    table
}

fn by_domain(report: &Report) -> Table {
    let heads = ["domain", "datasets", "official F1", "strict F1", "partial F1", "half-credit F1"];
    let mut table = table(&heads);
    for (domain, average) in &report.domains {
        let MacroAverage { num_scored, official_f1, strict_f1, partial_f1, half_credit_f1, .. } =
            *average;
        let mut row = vec![domain.clone(), num_scored.to_string()];
        row.extend([official_f1, strict_f1, partial_f1, half_credit_f1].map(percent));
        table.add_row(row);
    }
    table
}

/// How often answers have a flaw, and how many errors of each kind there are.
fn flaws(report: &Report) -> Table {
    let mut table = table(&[
        "dataset",
        "queries",
        "unanswered",
        "malformed",
        "mentions",
        "not in the text",
        "repeated",
        "missed",
        "spurious",
        "wrong boundary",
        "wrong type",
    ]);
    for outcome in &report.outcomes {
        let Outcome::Scored(report) = outcome else { continue };
        let Rates { queries, unanswered, malformed, mentions, hallucinated, duplicates } =
            report.rates;
        let mut row = vec![report.dataset.clone()];
        let counts = [queries, unanswered, malformed, mentions, hallucinated, duplicates];
        row.extend(counts.map(|count| count.to_string()));
        row.extend(report.errors.counts.values().map(ToString::to_string));
        table.add_row(row);
    }
    table
}

/// The most frequent confusions of types; none without any.
fn confusions(report: &Report) -> Option<(String, Table)> {
    let mut table = table(&["dataset", "spans", "gold type", "predicted type"]);
    for outcome in &report.outcomes {
        let Outcome::Scored(report) = outcome else { continue };
        for TypePair { gold, predicted, count } in report.errors.confusion.iter().take(CONFUSIONS) {
            table.add_row([&report.dataset, &count.to_string(), gold, predicted]);
        }
    }
    (table.row_count() > 0).then(|| ("Most frequent confusions of types".to_owned(), table))
}

/// The reliability tables of a dataset, with their titles.
fn reliabilities(report: &DatasetReport) -> Vec<(String, Table)> {
    let tables =
        [("entities", &report.entity_reliability), ("absent types", &report.empty_reliability)];
    let table = |(what, reliability): (&str, &Option<Reliability>)| {
        let Reliability { bins, count, expected_calibration_error } = reliability.as_ref()?;
        let title = format!(
            "{}: probabilities of {count} {what} (expected calibration error {})",
            report.dataset,
            percent(*expected_calibration_error)
        );
        let mut table = table(&["probability from", "count", "mean probability", "correct"]);
        for Bin { from, count, confidence, accuracy } in bins {
            let [from, confidence, accuracy] = [*from, *confidence, *accuracy].map(percent);
            table.add_row([from, count.to_string(), confidence, accuracy]);
        }
        Some((title, table))
    };
    tables.into_iter().filter_map(table).collect()
}

/// Our official F1 (the paper's metric), above the published numbers of each dataset; before
/// partial ones, our F1 with half credit.
fn beside_published(report: &Report) -> Table {
    let mut table = table(&["dataset", "F1", "system", "setting", "source"]);
    for outcome in &report.outcomes {
        let Some(numbers) = report.published.get(outcome.dataset()) else { continue };
        for (metric, name) in [(Metric::Strict, "official F1"), (Metric::Partial, "half-credit F1")]
        {
            let numbers = numbers.iter().filter(|number| number.metric == metric);
            let numbers: Vec<&Published> = numbers.collect();
            if numbers.is_empty() {
                continue;
            }
            let (f1, setting) = ours(outcome, metric);
            table.add_row([outcome.dataset(), &f1, "this run", &setting, name]);
            for Published { system, setting, f1, source, .. } in numbers {
                table.add_row([outcome.dataset(), &format!("{f1:?}"), system, setting, source]);
            }
        }
    }
    table
}

/// The share of each benchmark that is in the training data.
fn overlap(overlap: &Overlap) -> (String, Table) {
    let head = ["benchmark", "passages", "exact", "with 13-gram", "entities", "seen", "with type"];
    let mut table = table(&head);
    for benchmark in &overlap.benchmarks {
        let shared = benchmark.merged;
        let (passages, entities) = (benchmark.num_passages, benchmark.num_entities);
        table.add_row([
            benchmark.name.clone(),
            passages.to_string(),
            with_share(shared.num_exact, passages),
            with_share(shared.num_with_ngram, passages - benchmark.num_short),
            entities.to_string(),
            with_share(shared.num_entities_seen, entities),
            with_share(shared.num_entities_seen_with_type, entities),
        ]);
    }
    ("Benchmarks in the training data (percent in brackets)".to_owned(), table)
}

/// A count with its share of `whole`: `12 (3.4)`.
fn with_share(count: usize, whole: usize) -> String {
    format!("{count} ({})", percent(count as f64 / whole.max(1) as f64))
}

/// Our official F1, averaged over the same datasets, above published averages; none unless all
/// datasets of some averages are scored.
fn beside_averages(report: &Report) -> Option<(String, Table)> {
    let mut table = table(&["datasets", "F1", "system", "setting", "source"]);
    for BesideAverages { published, num_parts, official_f1, .. } in &report.published_averages {
        let Some(f1) = official_f1 else { continue };
        let setting = if *num_parts > 0 { format!("{num_parts} in part") } else { String::new() };
        table.add_row([&published.name, &percent(*f1), "this run", &setting, "official F1"]);
        for Published { system, setting, f1, source, .. } in &published.systems {
            table.add_row([&published.name, &format!("{f1:?}"), system, setting, source]);
        }
    }
    (table.row_count() > 0).then(|| ("Published averages (F1, percent)".to_owned(), table))
}

/// Our counterpart of a published F1, and whether only a part was scored.
fn ours(outcome: &Outcome, metric: Metric) -> (String, String) {
    let Outcome::Scored(report) = outcome else {
        return ("missing".to_owned(), String::new());
    };
    let f1 = match metric {
        Metric::Strict => report.scores.official.f1,
        Metric::Partial => report.half_credit.f1,
    };
    let setting = if report.is_part {
        format!("only the first {} passages", report.num_examples)
    } else {
        String::new()
    };
    (percent(f1), setting)
}

/// An empty table; the second column is aligned as numbers.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.set_header(header.iter().copied());
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn percent(fraction: f64) -> String {
    format!("{:.1}", fraction * 100.0)
}
