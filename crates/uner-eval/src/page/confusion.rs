//! Which types were taken for which others.

use indexmap::IndexMap;

use crate::DatasetReport;
use crate::errors::TypePair;
use crate::page::markup::{count, framed, isolated, row, row_head};

/// Types in the table: those with the most confusions.
const TYPES: usize = 12;
/// Pairs in the list.
const PAIRS: usize = 10;

/// The most frequent confusions as a list, and a heat map if there are more than two types.
pub(super) fn confusion(report: &DatasetReport) -> String {
    let pairs = &report.errors.confusion;
    if pairs.is_empty() {
        return String::new();
    }
    let items = pairs.iter().take(PAIRS).map(|TypePair { gold, predicted, count: number }| {
        format!("<li>{} → {}: {}</li>", isolated(gold), isolated(predicted), count(*number))
    });
    let list = format!(
        "<div><h3>Most frequent confusions, gold → predicted</h3><ol>{}</ol></div>\n",
        items.collect::<String>()
    );
    let names = most_confused(pairs);
    let map = if names.len() > 2 { heat_map(report, &names) } else { String::new() };
    format!("<div class=\"columns\">{map}{list}</div>\n")
}

/// The types with the most confusions, as gold or as predicted ones.
fn most_confused(pairs: &[TypePair]) -> Vec<&str> {
    let mut totals: IndexMap<&str, usize> = IndexMap::new();
    for TypePair { gold, predicted, count } in pairs {
        *totals.entry(gold).or_default() += count;
        *totals.entry(predicted).or_default() += count;
    }
    let mut totals: Vec<(&str, usize)> = totals.into_iter().collect();
    totals.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    totals.into_iter().take(TYPES).map(|(name, _)| name).collect()
}

fn heat_map(report: &DatasetReport, names: &[&str]) -> String {
    let pairs = &report.errors.confusion;
    let of = |gold: &str, predicted: &str| {
        let found = pairs.iter().find(|pair| pair.gold == gold && pair.predicted == predicted);
        found.map_or(0, |pair| pair.count)
    };
    let most = pairs.iter().map(|pair| pair.count).max().unwrap_or(1) as f64;
    let head = |name: &&str| format!("<th scope=\"col\"><span>{}</span></th>", isolated(name));
    let heads: Vec<String> = names.iter().map(head).collect();
    let heads = heads.concat();
    let mut rows = String::new();
    for gold in names {
        let mut cells = vec![row_head(&isolated(gold))];
        cells.extend(names.iter().map(|predicted| match of(gold, predicted) {
            _ if gold == predicted => {
                let scores = report.scores.per_type.get(*gold);
                let correct = scores.map_or(0, |scores| scores.semeval.strict.correct);
                format!("<td class=\"correct\">{}</td>", count(correct))
            }
            0 => "<td></td>".to_owned(),
            number => {
                let strength = 10.0 + number as f64 / most * 70.0;
                format!("<td style=\"--v:{strength:.0}%\">{}</td>", count(number))
            }
        }));
        rows += &row(&cells);
    }
    let caption =
        "<b>Confusions</b>: gold types in rows, predicted ones in columns; correct ones grey";
    framed("heat", caption, &format!("<td></td>{heads}"), &rows)
}
