//! Everything about one dataset, closed at first.

use crate::page::confusion::confusion;
use crate::page::examples::browser;
use crate::page::markup::{
    bar, count, fixed_table, interval, isolated, number, percent, row, row_head, table, text,
};
use crate::page::reliability::diagrams;
use crate::published::Published;
use crate::report::{Outcome, Report};
use crate::{DatasetReport, Rates};

/// The details of every scored dataset.
pub(super) fn details(report: &Report) -> String {
    let mut html = String::from("<section><h2>Details</h2>\n");
    for (index, outcome) in report.outcomes.iter().enumerate() {
        if let Outcome::Scored(scored) = outcome {
            let numbers = report.published.get(&scored.dataset).map_or(&[][..], Vec::as_slice);
            html += &of_dataset(index, scored, numbers);
        }
    }
    html + "</section>\n"
}

fn of_dataset(index: usize, report: &DatasetReport, numbers: &[Published]) -> String {
    let DatasetReport { dataset, scores, num_examples, is_part, intervals, .. } = report;
    let [official, strict] = [
        interval(intervals.map(|intervals| intervals.official)),
        interval(intervals.map(|intervals| intervals.strict)),
    ];
    let part = if *is_part {
        format!(
            "<p class=\"note\">Only the first {} passages were scored.</p>\n",
            count(*num_examples)
        )
    } else {
        String::new()
    };
    format!(
        "<details class=\"dataset\" id=\"dataset-{index}\"><summary><b>{}</b> <span>official F1 \
         {}{official}, strict F1 {}{strict}, {} errors</span></summary>\n{part}{}{}<div \
         class=\"columns\">{}{}{}</div>\n{}{}{}</details>\n",
        isolated(dataset),
        percent(scores.official.f1),
        percent(scores.semeval.strict.f1),
        count(report.errors.counts.values().sum()),
        by_type(report),
        confusion(report),
        flaws(report),
        modes(report),
        seen(report),
        diagrams(report),
        browser(index, &report.errors),
        published(report, numbers),
    )
}

fn by_type(report: &DatasetReport) -> String {
    let mut rows = String::new();
    for (name, scores) in &report.scores.per_type {
        let strict = scores.semeval.strict;
        let mut cells = vec![
            row_head(&isolated(name)),
            number(&count(strict.possible)),
            number(&count(strict.actual)),
            bar(scores.official.f1),
            bar(strict.f1),
        ];
        cells.extend(percents([strict.precision, strict.recall, scores.semeval.partial.f1]));
        rows += &row(&cells);
    }
    let heads = [
        "entity type",
        "gold",
        "predicted",
        "official F1",
        "strict F1",
        "strict P",
        "strict R",
        "partial F1",
    ];
    table("<b>Scores by entity type</b> (percent)", &heads, &["entity type"], &rows)
}

/// How often answers have a flaw.
fn flaws(report: &DatasetReport) -> String {
    let Rates { queries, unanswered, malformed, mentions, hallucinated, duplicates } = report.rates;
    let mut rows = String::new();
    for (name, flawed, all, of) in [
        ("unanswered", unanswered, queries, "queries"),
        ("malformed", malformed, queries, "queries"),
        ("not in the text", hallucinated, mentions, "mentions"),
        ("repeated", duplicates, mentions, "mentions"),
    ] {
        let share = if all > 0 { percent(flawed as f64 / all as f64) } else { "–".to_owned() };
        rows += &row(&[
            row_head(name),
            number(&count(flawed)),
            number(&share),
            text(&format!("of {} {of}", count(all))),
        ]);
    }
    fixed_table("<b>Flaws of answers</b>", &["flaw", "count", "%", ""], &rows)
}

/// The SemEval-2013 modes.
fn modes(report: &DatasetReport) -> String {
    let semeval = &report.scores.semeval;
    let mut rows = String::new();
    for (name, mode) in [
        ("strict", semeval.strict),
        ("exact span", semeval.exact),
        ("partial", semeval.partial),
        ("type", semeval.ent_type),
    ] {
        let mut cells = vec![row_head(name)];
        cells.extend(percents([mode.precision, mode.recall, mode.f1]));
        rows += &row(&cells);
    }
    fixed_table("<b>Modes of SemEval-2013</b> (percent)", &["mode", "P", "R", "F1"], &rows)
}

/// Strict scores of entities with and without an equal mention in the training data.
fn seen(report: &DatasetReport) -> String {
    let Some(split) = report.seen_split else { return String::new() };
    let mut rows = String::new();
    for (name, score) in [("seen", split.seen), ("unseen", split.unseen)] {
        let mut cells = vec![row_head(name), number(&count(score.possible))];
        cells.extend(percents([score.precision, score.recall, score.f1]));
        rows += &row(&cells);
    }
    let heads = ["mention", "gold", "P", "R", "F1"];
    fixed_table("<b>Seen in training</b> (strict, percent)", &heads, &rows)
}

/// The published numbers of the dataset.
fn published(report: &DatasetReport, numbers: &[Published]) -> String {
    if numbers.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for Published { system, setting, metric, f1, source } in numbers {
        rows += &row(&[
            row_head(&isolated(system)),
            text(&isolated(setting)),
            text(metric.name()),
            number(&format!("{f1:?}")),
            text(&isolated(source)),
        ]);
    }
    let caption = format!(
        "<b>Published F1</b>; this run: official {}, half-credit {}, the counterparts of \
         <em>strict</em> and \
         <em>partial</em>",
        percent(report.scores.official.f1),
        percent(report.half_credit.f1)
    );
    let heads = ["system", "setting", "match", "F1", "source"];
    table(&caption, &heads, &["system", "setting", "match", "source"], &rows)
}

/// Cells with fractions in percent.
fn percents(fractions: [f64; 3]) -> [String; 3] {
    fractions.map(|fraction| number(&percent(fraction)))
}
