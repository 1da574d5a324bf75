//! Tables of an evaluation run: for the terminal, as Markdown and as JSON.
//!
//! Every requested benchmark has a row. If one could not be scored, the row shows the reason; the
//! macro average shows how many datasets it covers.

use comfy_table::{CellAlignment, Table, TableStyle, presets};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    Bin, DatasetReport, Intervals, Rates, Reliability, Scores,
    published::{Published, published},
    semeval::ModeScore,
};

/// The result of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Outcome {
    /// It was scored.
    Scored(Box<DatasetReport>),
    /// It was requested but not scored.
    Missing {
        /// The name of the benchmark.
        dataset: String,
        /// The reason, such as a file that does not exist.
        reason: String,
    },
}

impl Outcome {
    /// The name of the benchmark.
    pub fn dataset(&self) -> &str {
        match self {
            Self::Scored(report) => &report.dataset,
            Self::Missing { dataset, .. } => dataset,
        }
    }
}

/// Unweighted means of F1, from 0 to 1, over the datasets that were scored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MacroAverage {
    /// Number of datasets averaged.
    pub num_scored: usize,
    /// Number of datasets requested but missing.
    pub num_missing: usize,
    /// Mean official F1.
    pub official_f1: f64,
    /// Mean strict F1.
    pub strict_f1: f64,
    /// Mean partial F1.
    pub partial_f1: f64,
    /// Mean F1 with half credit, the partial score of the paper.
    pub half_credit_f1: f64,
}

/// All benchmarks of a run. Its JSON is what serde writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The name of the system.
    pub system: String,
    /// One outcome per benchmark, in the requested order.
    pub outcomes: Vec<Outcome>,
    /// The averages; `None` if no benchmark was scored.
    pub macro_average: Option<MacroAverage>,
    /// The averages of each domain with a scored benchmark.
    pub domains: IndexMap<String, MacroAverage>,
    /// Published numbers by dataset; datasets without any are left out.
    pub published: IndexMap<String, Vec<Published>>,
}

impl Report {
    /// Averages the outcomes and looks up published numbers.
    pub fn new(system: &str, outcomes: Vec<Outcome>) -> Self {
        let numbers = outcomes
            .iter()
            .map(|outcome| (outcome.dataset().to_owned(), published(outcome.dataset())));
        let published = numbers.filter(|(_, numbers)| !numbers.is_empty()).collect();
        Self {
            system: system.to_owned(),
            macro_average: macro_average(outcomes.iter()),
            domains: domains(&outcomes),
            published,
            outcomes,
        }
    }

    /// All tables, with borders, for a terminal; with `calibration`, also those of probabilities.
    pub fn terminal(&self, calibration: bool) -> String {
        self.render("", presets::UTF8_FULL_CONDENSED, calibration)
    }

    /// All tables as Markdown.
    pub fn markdown(&self) -> String {
        self.render("## ", presets::ASCII_MARKDOWN, true)
    }

    fn render(&self, heading: &str, style: TableStyle, calibration: bool) -> String {
        let mut sections = vec![("Scores (percent)".to_owned(), overview(self))];
        if self.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Missing { .. })) {
            sections.push(("Missing benchmarks".to_owned(), missing(self)));
        }
        for outcome in &self.outcomes {
            if let Outcome::Scored(report) = outcome {
                sections.push((
                    format!("{} by entity type (percent)", report.dataset),
                    by_type(report),
                ));
            }
        }
        if self.domains.len() > 1 {
            sections.push(("Domains (macro averages, percent)".to_owned(), by_domain(self)));
        }
        sections.push(("Flaws of answers, and errors".to_owned(), flaws(self)));
        for outcome in self.outcomes.iter().filter(|_| calibration) {
            if let Outcome::Scored(report) = outcome {
                sections.extend(reliabilities(report));
            }
        }
        if !self.published.is_empty() {
            sections.push(("Published F1 (percent)".to_owned(), beside_published(self)));
        }
        let sections = sections.into_iter().map(|(title, mut table)| {
            table.load_style(style);
            format!("{heading}{title}\n\n{table}\n")
        });
        sections.collect::<Vec<_>>().join("\n")
    }
}

/// The averages of each domain, in the order of the outcomes.
fn domains(outcomes: &[Outcome]) -> IndexMap<String, MacroAverage> {
    let mut groups: IndexMap<&str, Vec<&Outcome>> = IndexMap::new();
    for outcome in outcomes {
        if let Outcome::Scored(report) = outcome
            && !report.domain.is_empty()
        {
            groups.entry(&report.domain).or_default().push(outcome);
        }
    }
    let average = |(domain, group): (&str, Vec<&Outcome>)| {
        Some((domain.to_owned(), macro_average(group.into_iter())?))
    };
    groups.into_iter().filter_map(average).collect()
}

fn macro_average<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Option<MacroAverage> {
    let outcomes: Vec<&Outcome> = outcomes.collect();
    let scored = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Scored(report) => Some(&**report),
        Outcome::Missing { .. } => None,
    });
    let scored: Vec<&DatasetReport> = scored.collect();
    let mean = |f1: fn(&DatasetReport) -> f64| {
        scored.iter().map(|report| f1(report)).sum::<f64>() / scored.len() as f64
    };
    (!scored.is_empty()).then(|| MacroAverage {
        num_scored: scored.len(),
        num_missing: outcomes.len() - scored.len(),
        official_f1: mean(|report| report.scores.official.f1),
        strict_f1: mean(|report| report.scores.semeval.strict.f1),
        partial_f1: mean(|report| report.scores.semeval.partial.f1),
        half_credit_f1: mean(|report| report.half_credit.f1),
    })
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
        let [official, strict, partial] =
            [average.official_f1, average.strict_f1, average.partial_f1].map(percent);
        let mut row =
            vec![over, String::new(), official, String::new(), String::new(), strict, partial];
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
    let mut table = table(&["domain", "datasets", "official F1", "strict F1", "partial F1"]);
    for (domain, average) in &report.domains {
        let mut row = vec![domain.clone(), average.num_scored.to_string()];
        row.extend([average.official_f1, average.strict_f1, average.partial_f1].map(percent));
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

/// Our official F1 (the paper's metric), above the published numbers of each dataset.
fn beside_published(report: &Report) -> Table {
    let mut table = table(&["dataset", "F1", "system", "setting", "source"]);
    for outcome in &report.outcomes {
        let Some(numbers) = report.published.get(outcome.dataset()) else { continue };
        let (ours, setting) = match outcome {
            Outcome::Scored(report) if report.is_part => (
                percent(report.scores.official.f1),
                format!("only the first {} passages", report.num_examples),
            ),
            Outcome::Scored(report) => (percent(report.scores.official.f1), String::new()),
            Outcome::Missing { .. } => ("missing".to_owned(), String::new()),
        };
        table.add_row([outcome.dataset(), &ours, "this run", &setting, "official F1"]);
        for Published { system, setting, f1, source } in numbers {
            table.add_row([outcome.dataset(), &f1.to_string(), system, setting, source]);
        }
    }
    table
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

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
