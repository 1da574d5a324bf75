//! Published systems against this run, over the datasets that both have.

use indexmap::IndexMap;

use crate::page::markup::{count, difference, isolated, number, row, row_head, table, text};
use crate::published::{Metric, Published};
use crate::report::{Outcome, Report};

/// Sums over the datasets that a published system and this run have in common.
#[derive(Default)]
struct Common {
    datasets: usize,
    /// Of these, datasets that this run has scored in part.
    parts: usize,
    theirs: f64,
    ours: f64,
}

/// A row for each system, setting and source.
pub(super) fn comparison(report: &Report) -> String {
    let mut systems: IndexMap<(&str, &str, Metric, &str), Common> = IndexMap::new();
    for outcome in &report.outcomes {
        let Outcome::Scored(scored) = outcome else { continue };
        for Published { system, setting, metric, f1, source } in
            report.published.get(&scored.dataset).into_iter().flatten()
        {
            let ours = match metric {
                Metric::Strict => scored.scores.official.f1,
                Metric::Partial => scored.half_credit.f1,
            };
            let common = systems.entry((system, setting, *metric, source)).or_default();
            common.datasets += 1;
            common.parts += usize::from(scored.is_part);
            common.theirs += f1;
            common.ours += ours * 100.0;
        }
    }
    if systems.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for ((system, setting, metric, source), common) in systems {
        let Common { datasets, parts, theirs, ours } = common;
        let (theirs, ours) = (theirs / datasets as f64, ours / datasets as f64);
        let in_part =
            if parts > 0 { format!(" <small>({parts} in part)</small>") } else { String::new() };
        rows += &row(&[
            row_head(&isolated(system)),
            text(&isolated(setting)),
            text(metric.name()),
            number(&(count(datasets) + &in_part)),
            number(&format!("{theirs:.1}")),
            number(&format!("{ours:.1}")),
            number(&difference(ours - theirs)),
            text(&isolated(source)),
        ]);
    }
    let caption = "Mean F1 in percent over the datasets that this run and the source have in \
                   common. Our \
                   counterparts of <em>strict</em> and <em>partial</em> are the official F1 and \
                   the half-credit F1. \
                   Test sets and evaluators of the sources may differ; see the settings.";
    let heads =
        ["system", "setting", "match", "datasets", "published", "this run", "difference", "source"];
    format!(
        "<section><h2>Published systems</h2>\n{}</section>\n",
        table(caption, &heads, &["system", "setting", "match", "source"], &rows)
    )
}
