//! The table of datasets.

use crate::DatasetReport;
use crate::page::markers::{chart, means};
use crate::page::markup::{
    count, difference, escaped, interval, isolated, number, percent, row, row_head, table, text,
};
use crate::published::{Metric, Published};
use crate::report::{Outcome, Report};

const HEADS: [&str; 11] = [
    "dataset",
    "domain",
    "passages",
    "official F1",
    "strict P",
    "strict R",
    "strict F1",
    "partial F1",
    "half-credit F1",
    "best zero-shot",
    "best supervised",
];

/// One row per benchmark, including missing ones.
pub(super) fn datasets(report: &Report) -> String {
    let mut rows = String::new();
    for (index, outcome) in report.outcomes.iter().enumerate() {
        let of_outcome = match outcome {
            Outcome::Scored(scored) => {
                let numbers = report.published.get(&scored.dataset).map_or(&[][..], Vec::as_slice);
                scored_row(index, scored, numbers)
            }
            Outcome::Missing { dataset, reason } => missing_row(dataset, reason),
        };
        rows += &of_outcome;
    }
    let caption = "Percent; small figures are 95 % intervals of the bootstrap by passage. <em>Best \
                   zero-shot</em> and <em>best supervised</em>: the highest published F1 of \
                   systems \
                   that were trained without and with annotated data of the benchmark (not always \
                   of this dataset), and the difference of our official F1 to it.";
    format!(
        "<section class=\"datasets\"><h2>Datasets</h2>\n{}</section>\n",
        table(caption, &HEADS, &["dataset", "domain"], &rows)
    )
}

fn missing_row(dataset: &str, reason: &str) -> String {
    format!(
        "<tr class=\"missing\">{}<td class=\"text\" colspan=\"{}\"><strong>missing:</strong> \
         {}</td></tr>\n",
        row_head(&isolated(dataset)),
        HEADS.len() - 1,
        isolated(reason)
    )
}

fn scored_row(index: usize, report: &DatasetReport, numbers: &[Published]) -> String {
    let DatasetReport { dataset, domain, num_examples, is_part, scores, half_credit, .. } = report;
    let mut head = format!("<a href=\"#dataset-{index}\">{}</a>", isolated(dataset));
    if *is_part {
        head += " <span class=\"part\" title=\"only the first passages were scored\">part</span>";
    }
    let strict = scores.semeval.strict;
    let mut cells = vec![
        row_head(&head),
        text(&isolated(domain)),
        number(&count(*num_examples)),
        official(report, numbers),
    ];
    cells.extend([strict.precision, strict.recall].map(|fraction| number(&percent(fraction))));
    let uncertain = report.intervals.map(|intervals| intervals.strict);
    cells.push(number(&(percent(strict.f1) + &interval(uncertain))));
    let others = [scores.semeval.partial.f1, half_credit.f1];
    cells.extend(others.map(|fraction| number(&percent(fraction))));
    cells.extend([true, false].map(|zero_shot| best(numbers, zero_shot, scores.official.f1)));
    row(&cells)
}

/// The cell of the official F1, beside published ones.
fn official(report: &DatasetReport, numbers: &[Published]) -> String {
    let f1 = report.scores.official.f1;
    let uncertain = report.intervals.map(|intervals| intervals.official);
    let chart = chart(f1, uncertain, &means(&[numbers]));
    let shown = format!("<b>{}</b>{}", percent(f1), interval(uncertain));
    format!("<td class=\"wide\"><div><span>{shown}</span>{chart}</div></td>")
}

/// The highest published F1, and the difference of ours to it.
fn best(numbers: &[Published], zero_shot: bool, ours: f64) -> String {
    let of_kind = numbers
        .iter()
        .filter(|number| number.metric == Metric::Strict && number.is_zero_shot() == zero_shot);
    let best = of_kind.max_by(|a, b| a.f1.total_cmp(&b.f1));
    best.map_or_else(
        || number("–"),
        |Published { system, setting, f1, source, .. }| {
            format!(
                "<td title=\"{}\">{f1:.1} <small>({})</small></td>",
                escaped(&format!("{system}, {setting}: {source}")),
                difference(ours * 100.0 - f1)
            )
        },
    )
}
