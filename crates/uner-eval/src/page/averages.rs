//! Published averages over groups of datasets beside that of this run, and notes on the sources.

use crate::page::markup::{
    count, difference, isolated, number, percent, row, row_head, table, text,
};
use crate::published::{Published, notes};
use crate::report::{BesideAverages, Report};

/// A table for each group, closed at first.
pub(super) fn averages(report: &Report) -> String {
    let groups: String = report.published_averages.iter().map(group).collect();
    if report.published.is_empty() && groups.is_empty() {
        return groups;
    }
    let items: Vec<String> =
        notes().iter().map(|note| format!("<li>{}</li>", isolated(note))).collect();
    let items = items.concat();
    let groups =
        if groups.is_empty() { groups } else { format!("<h2>Published averages</h2>\n{groups}") };
    format!(
        "<section>{groups}<h2>Notes on published numbers</h2>\n<ul class=\"notes\">{items}</ul>\
         </section>\n"
    )
}

fn group(averages: &BesideAverages) -> String {
    let BesideAverages { published, num_scored, num_parts, official_f1 } = averages;
    let mut systems: Vec<&Published> = published.systems.iter().collect();
    systems.sort_by(|a, b| b.f1.total_cmp(&a.f1));
    let mut rows = String::new();
    for Published { system, setting, f1, source, .. } in systems {
        let to_ours =
            official_f1.map_or_else(|| "–".to_owned(), |ours| difference(ours * 100.0 - f1));
        rows += &row(&[
            row_head(&isolated(system)),
            text(&isolated(setting)),
            number(&format!("{f1:?}")),
            number(&to_ours),
            text(&isolated(source)),
        ]);
    }
    let parts = if *num_parts > 0 { format!(", {num_parts} only in part") } else { String::new() };
    let ours = official_f1.map_or_else(
        || "no average, because some are not scored".to_owned(),
        |f1| format!("official F1 {}", percent(f1)),
    );
    let caption = format!(
        "This run: {ours} ({} of {} datasets scored{parts}). Mean F1 in percent.",
        count(*num_scored),
        count(published.datasets.len())
    );
    let heads = ["system", "setting", "F1", "difference", "source"];
    format!(
        "<details><summary><b>{}</b> <span>{ours}</span></summary>\n{}</details>\n",
        isolated(&published.name),
        table(&caption, &heads, &["system", "setting", "source"], &rows)
    )
}
