//! Whether one system is better than another: a paired test on each benchmark that both have
//! answered, corrected for their number.

use comfy_table::{Table, presets};
use serde::Serialize;
use std::path::Path;

use crate::EvalError;
use crate::folder::predictions;
use crate::passages::PassageCounts;
use crate::record::{Record, records};
use crate::scores::queries;
use crate::uncertainty::{
    Counts, Interval, Paired, Resampling, UncertaintyError, approximate_randomization,
    bootstrap_difference, holm, micro_f1,
};

/// Random assignments of a test.
const ROUNDS: usize = 10_000;

/// Two systems on one benchmark. F1 is from 0 to 1; differences are the first minus the second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The dataset.
    pub dataset: String,
    /// Its split.
    pub split: String,
    /// Strict F1.
    pub strict: Difference,
    /// Official F1.
    pub official: Difference,
}

/// The difference of two scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// F1 of the first system.
    pub first: f64,
    /// F1 of the second system.
    pub second: f64,
    /// The difference with its bootstrap interval, by passage.
    pub difference: Interval,
    /// The paired test (approximate randomization, by passage).
    pub test: Paired,
    /// Its p-value after Holm's correction over all benchmarks.
    pub corrected_p_value: f64,
}

/// Compares two evaluations, by the folders of their answers, on all benchmarks that both have.
///
/// # Errors
/// When a folder has no evaluation, a file is damaged, the two have no benchmark in common, or they
/// have not answered the same queries.
pub fn compare(first: &Path, second: &Path) -> Result<Vec<Comparison>, EvalError> {
    let (ours, theirs) = (predictions(first)?, predictions(second)?);
    let mut comparisons = Vec::new();
    for ((dataset, split), path) in &ours {
        let Some(other) = theirs.get(&(dataset.clone(), split.clone())) else { continue };
        let [a, b] = counts(path, other)?;
        let (strict, official) =
            (difference(&a.strict, &b.strict), difference(&a.official, &b.official));
        let problem = |error: UncertaintyError| EvalError::Other {
            folder: second.to_owned(),
            difference: format!("`{dataset}`, split `{split}`: {error}"),
        };
        let (strict, official) = (strict.map_err(problem)?, official.map_err(problem)?);
        let (dataset, split) = (dataset.clone(), split.clone());
        comparisons.push(Comparison { dataset, split, strict, official });
    }
    if comparisons.is_empty() {
        return Err(EvalError::Other {
            folder: second.to_owned(),
            difference: format!("it has no benchmark in common with `{}`", first.display()),
        });
    }
    correct(&mut comparisons, |comparison| &mut comparison.strict);
    correct(&mut comparisons, |comparison| &mut comparison.official);
    Ok(comparisons)
}

/// The counts of the same passages for two systems.
fn counts(first: &Path, second: &Path) -> Result<[PassageCounts; 2], EvalError> {
    let mut counts = [PassageCounts::default(), PassageCounts::default()];
    let (mut ours, mut theirs) = (records(first)?, records(second)?);
    loop {
        let pair = (ours.next().transpose()?, theirs.next().transpose()?);
        let (a, b) = match pair {
            (Some(a), Some(b)) if is_same(&a, &b) => (a, b),
            (None, None) => return Ok(counts),
            (a, b) => {
                let id = a.or(b).map(|record| record.id).unwrap_or_default();
                let difference = format!(
                    "its answers are to other queries from passage `{id}` on, in `{}`",
                    second.display()
                );
                return Err(EvalError::Other { folder: second.to_owned(), difference });
            }
        };
        counts[0].add(&queries(&a));
        counts[1].add(&queries(&b));
    }
}

fn is_same(a: &Record, b: &Record) -> bool {
    let types = |record: &Record| -> Vec<String> {
        record.answers.iter().map(|answer| answer.entity_type.clone()).collect()
    };
    a.id == b.id && a.text == b.text && a.gold == b.gold && types(a) == types(b)
}

fn difference(a: &[Counts], b: &[Counts]) -> Result<Difference, UncertaintyError> {
    let test = approximate_randomization(a, b, ROUNDS, 0)?;
    Ok(Difference {
        first: micro_f1(a),
        second: micro_f1(b),
        difference: bootstrap_difference(a, b, &Resampling::default())?,
        corrected_p_value: test.p_value,
        test,
    })
}

fn correct(comparisons: &mut [Comparison], score: impl Fn(&mut Comparison) -> &mut Difference) {
    let values: Vec<f64> =
        comparisons.iter_mut().map(|comparison| score(comparison).test.p_value).collect();
    let corrected = holm(&values).expect("p-values of tests");
    for (comparison, value) in comparisons.iter_mut().zip(corrected) {
        score(comparison).corrected_p_value = value;
    }
}

/// The comparisons as a table: strict F1 in percent.
pub fn table(comparisons: &[Comparison]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "dataset",
        "first",
        "second",
        "difference",
        "95 % interval",
        "p",
        "p (Holm)",
    ]);
    for Comparison { dataset, split, strict, .. } in comparisons {
        let percent = |fraction: f64| format!("{:.1}", 100.0 * fraction);
        let Difference { first, second, difference, test, corrected_p_value } = strict;
        table.add_row([
            format!("{dataset} ({split})"),
            percent(*first),
            percent(*second),
            format!("{:+.1}", 100.0 * difference.estimate),
            format!("{:+.1} to {:+.1}", 100.0 * difference.low, 100.0 * difference.high),
            format!("{:.4}", test.p_value),
            format!("{corrected_p_value:.4}"),
        ]);
    }
    format!("Strict F1 (percent); p: approximate randomization by passage\n\n{table}\n")
}
