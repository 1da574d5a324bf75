//! The report of an evaluation run: for the terminal, as Markdown and as JSON.
//!
//! Every requested benchmark has a row. If one could not be scored, the row shows the reason; the
//! macro average shows how many datasets it covers.

mod tables;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uner_data::overlap::Overlap;

use crate::DatasetReport;
use crate::published::{
    Published, PublishedAverages, is_same_dataset, published, published_averages, published_domains,
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
    /// Published averages of domains by domain; domains without any are left out.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub published_domains: IndexMap<String, Vec<Published>>,
    /// Published averages over several datasets of which at least one was scored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published_averages: Vec<BesideAverages>,
    /// Passages and entities of the benchmarks that the training data has, too, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
}

/// Published averages, and the average of this run over the same datasets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BesideAverages {
    /// The published ones.
    #[serde(flatten)]
    pub published: PublishedAverages,
    /// Number of these datasets that were scored.
    pub num_scored: usize,
    /// Number of these that were scored only in part.
    pub num_parts: usize,
    /// Mean official F1, from 0 to 1; `None` if a dataset was not scored.
    pub official_f1: Option<f64>,
}

impl Report {
    /// Averages the outcomes and looks up published numbers.
    pub fn new(system: &str, outcomes: Vec<Outcome>) -> Self {
        let numbers = outcomes
            .iter()
            .map(|outcome| (outcome.dataset().to_owned(), published(outcome.dataset())));
        let published = numbers.filter(|(_, numbers)| !numbers.is_empty()).collect();
        let domains = domains(&outcomes);
        let averages = domains.keys().map(|domain| (domain.clone(), published_domains(domain)));
        Self {
            system: system.to_owned(),
            macro_average: macro_average(outcomes.iter()),
            published,
            published_domains: averages.filter(|(_, numbers)| !numbers.is_empty()).collect(),
            published_averages: published_averages()
                .iter()
                .map(|published| beside(published, &outcomes))
                .filter(|averages| averages.num_scored > 0)
                .collect(),
            domains,
            outcomes,
            overlap: None,
        }
    }

    /// All tables, with borders, for a terminal; with `calibration`, also those of probabilities.
    pub fn terminal(&self, calibration: bool) -> String {
        tables::terminal(self, calibration)
    }

    /// All tables as Markdown.
    pub fn markdown(&self) -> String {
        tables::markdown(self)
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

/// The average of a run over the datasets of published averages.
fn beside(published: &PublishedAverages, outcomes: &[Outcome]) -> BesideAverages {
    let scored = published.datasets.iter().filter_map(|name| {
        outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Scored(report) if is_same_dataset(&report.dataset, name) => Some(&**report),
            _ => None,
        })
    });
    let scored: Vec<&DatasetReport> = scored.collect();
    let sum: f64 = scored.iter().map(|report| report.scores.official.f1).sum();
    BesideAverages {
        published: published.clone(),
        num_scored: scored.len(),
        num_parts: scored.iter().filter(|report| report.is_part).count(),
        official_f1: (scored.len() == published.datasets.len()).then(|| sum / scored.len() as f64),
    }
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

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
