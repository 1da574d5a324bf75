//! The report as Markdown.

use std::fmt::Write as _;

use uner_data::stats::{Distribution, Stats};
use uner_data::visible;

use super::{Counts, DistillReport, PUBLISHED};

pub(super) fn report(report: &DistillReport) -> String {
    let sections = [
        "# Distilled data\n".to_owned(),
        passages(report),
        dropped(report),
        format!("## Types\n\n{}", types(&report.statistics)),
        sizes(report),
        teachers(report),
        unparseable(report),
        overlap(report),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

/// A row of a table, with the characters that would end a cell replaced.
fn row(cells: &[String]) -> String {
    let cells: Vec<String> =
        cells.iter().map(|cell| visible(cell).replace('|', "\\|").replace('`', "'")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = row(&head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    text.push('|');
    text += &" --- |".repeat(head.len());
    text.push('\n');
    for cells in rows {
        text += &row(&cells);
    }
    text
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

fn passages(report: &DistillReport) -> String {
    let cells = |name: &str, counts: &Counts| {
        let numbers = [
            counts.passages,
            counts.unanswered,
            counts.unparseable,
            counts.annotated,
            counts.without_entities,
            counts.emptied,
            counts.cut_off,
            counts.entities,
            counts.dropped,
        ];
        let numbers = numbers.iter().map(ToString::to_string);
        std::iter::once(name.to_owned()).chain(numbers).collect::<Vec<_>>()
    };
    let subsets = report.subsets.iter().map(|(name, counts)| cells(name, counts));
    let head = [
        "subset",
        "passages",
        "unanswered",
        "unparseable",
        "kept",
        "empty list",
        "all entities dropped",
        "cut off",
        "entities",
        "dropped entities",
    ];
    let all = cells("all", &report.counts);
    format!("## Passages\n\n{}", table(&head, subsets.chain([all])))
}

fn dropped(report: &DistillReport) -> String {
    let Counts { entities, dropped, .. } = report.counts;
    let rows = report.dropped.iter().map(|(reason, dropped_for)| {
        vec![
            reason.in_words().to_owned(),
            dropped_for.count.to_string(),
            percent(dropped_for.count, entities + dropped),
            dropped_for.examples.join("; "),
        ]
    });
    let rows = table(&["reason", "entities", "share", "examples"], rows);
    format!("## Dropped entities\n\n{rows}")
}

/// The table of types, beside the published one.
pub(super) fn types(statistics: &Stats) -> String {
    let rows = statistics.bands.iter().zip(PUBLISHED).map(|(band, published)| {
        vec![
            band.name.to_owned(),
            band.num_types.to_string(),
            band.num_entities.to_string(),
            format!("{:.1} %", 100.0 * band.share),
            format!("{:.0} % ({} types)", 100.0 * published.share, published.num_types),
            band.examples.join(", "),
        ]
    });
    let head = ["types", "number", "mentions", "share", "UniversalNER", "most frequent"];
    let mut text = format!(
        "{} mentions of {} types ({} after folding case, blanks, `_` and `-`).\n\n",
        statistics.num_entities, statistics.num_types, statistics.num_folded_types
    );
    text += &table(&head, rows);
    text
}

fn sizes(report: &DistillReport) -> String {
    let statistics = &report.statistics;
    let named = [
        ("characters", &statistics.characters),
        ("words", &statistics.words),
        ("entities", &statistics.entities),
        ("types", &report.types),
    ];
    let rows = named.map(|(name, distribution)| {
        let Distribution { min, mean, median, p95, max } = distribution;
        let mut cells = vec![name.to_owned(), min.to_string(), format!("{mean:.1}")];
        cells.extend([median, p95, max].map(ToString::to_string));
        cells
    });
    let head = ["per passage", "min", "mean", "median", "95 %", "max"];
    format!("## Sizes\n\n{}", table(&head, rows))
}

fn teachers(report: &DistillReport) -> String {
    let rows = report.teachers.iter().map(|(name, answers)| {
        vec![
            name.clone(),
            answers.answers.to_string(),
            answers.tokens.input.to_string(),
            answers.tokens.output.to_string(),
            answers.without_tokens.to_string(),
            format!("{:.2}", answers.money),
            format!("{:.1} h", (answers.last - answers.first) as f64 / 3600.0),
        ]
    });
    let head = [
        "teacher (prompt)",
        "answers",
        "input tokens",
        "output tokens",
        "tokens unknown",
        "money",
        "first to last answer",
    ];
    format!("## Teacher\n\n{}", table(&head, rows))
}

fn unparseable(report: &DistillReport) -> String {
    if report.unparseable.is_empty() {
        return String::new();
    }
    let rows = report.unparseable.iter().map(|one| vec![one.passage.clone(), one.answer.clone()]);
    format!("## Unparseable answers\n\n{}", table(&["passage", "answer"], rows))
}

fn overlap(report: &DistillReport) -> String {
    let Some(overlap) = &report.overlap else { return String::new() };
    let mut text = "## Overlap with test sets\n\n```text\n".to_owned();
    let _ = write!(text, "{overlap}");
    text + "```\n"
}
