//! The top of the page: averages in large figures, and the average of each domain.

use std::fmt::Write as _;

use crate::page::markers::{chart, legend, means};
use crate::page::markup::{count, isolated, number, percent, row, row_head, table, text};
use crate::published::Published;
use crate::report::{MacroAverage, Outcome, Report};

/// How much was scored, and the averages.
pub(super) fn figures(report: &Report) -> String {
    let is_scored = |outcome: &&Outcome| matches!(outcome, Outcome::Scored(_));
    let scored = report.outcomes.iter().filter(is_scored).count();
    let missing = report.outcomes.len() - scored;
    let parts = report
        .outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Scored(report) if report.is_part));
    let parts = parts.count();
    let mut html = format!(
        "<p class=\"lead\">{} of {} datasets scored",
        count(scored),
        count(report.outcomes.len())
    );
    if missing > 0 {
        let _ = write!(html, ", <strong>{} missing</strong>", count(missing));
    }
    if parts > 0 {
        let _ = write!(
            html,
            ", <strong>{} only in part</strong>: published numbers are of whole test sets",
            count(parts)
        );
    }
    html += ".</p>\n";
    let Some(average) = report.macro_average else { return html };
    let MacroAverage { official_f1, strict_f1, partial_f1, half_credit_f1, .. } = average;
    html += "<dl class=\"figures\">";
    for (name, about, f1) in [
        ("Official F1", "sets of normalised strings, the metric of the paper", official_f1),
        ("Strict F1", "exact span and type", strict_f1),
        ("Partial F1", "SemEval-2013, overlapping spans count half", partial_f1),
        ("Half-credit F1", "the partial match of the paper", half_credit_f1),
    ] {
        let _ = write!(
            html,
            "<div><dt>{name}</dt><dd><b>{}</b> %</dd><dd class=\"about\">{about}</dd></div>",
            percent(f1)
        );
    }
    html += "</dl>\n<p class=\"note\">Unweighted means over the scored datasets.</p>\n";
    html
}

/// A bar for the average of each domain. A published system has a marker if it has a number for
/// every scored dataset of the domain, so that both are means over the same datasets.
pub(super) fn domains(report: &Report) -> String {
    if report.domains.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section><h2>Domains</h2>\n");
    html += &legend(&report.published.values().map(Vec::as_slice).collect::<Vec<_>>());
    html += "<div class=\"domains\">\n";
    for (domain, average) in &report.domains {
        let plural = if average.num_scored == 1 { "" } else { "s" };
        let _ = writeln!(
            html,
            "<div class=\"domain\"><span>{} <small>{} \
             dataset{plural}</small></span>{}<b>{}</b></div>",
            isolated(domain),
            count(average.num_scored),
            chart(average.official_f1, None, &means(&of_domain(report, domain))),
            percent(average.official_f1)
        );
    }
    html += "</div>\n<p class=\"note\">Means of official F1 over the scored datasets of a \
             domain. A published \
             system has a marker where it has a number for each of them.</p>\n";
    html + &of_paper(report) + "</section>\n"
}

/// The published numbers of each scored dataset of a domain.
fn of_domain<'a>(report: &'a Report, domain: &str) -> Vec<&'a [Published]> {
    let scored = report.outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Scored(scored) if scored.domain == domain => Some(&scored.dataset),
        _ => None,
    });
    scored.map(|dataset| report.published.get(dataset).map_or(&[][..], Vec::as_slice)).collect()
}

/// The averages of domains in the paper, over its own datasets.
fn of_paper(report: &Report) -> String {
    let mut rows = String::new();
    for (domain, numbers) in &report.published_domains {
        for Published { system, setting, f1, source, .. } in numbers {
            rows += &row(&[
                row_head(&isolated(domain)),
                text(&isolated(system)),
                text(&isolated(setting)),
                number(&format!("{f1:?}")),
                text(&isolated(source)),
            ]);
        }
    }
    if rows.is_empty() {
        return rows;
    }
    let caption = "Over all datasets of a domain in the paper, which are not the datasets of \
                   this run. \
                   The labels of Fig. 5a are 1.0 above the averages of Fig. 9 of the same paper.";
    let heads = ["domain", "system", "setting", "F1", "source"];
    let texts = ["domain", "system", "setting", "source"];
    format!(
        "<details><summary>Published averages of these domains</summary>\n{}</details>\n",
        table(caption, &heads, &texts, &rows)
    )
}
