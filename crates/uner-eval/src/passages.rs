//! The counts of each passage, from which the uncertainty of F1 follows.

use serde::{Deserialize, Serialize};

use crate::official::OfficialCounts;
use crate::scores::Query;
use crate::semeval::SemevalCounts;
use crate::uncertainty::{Counts, Interval, Resampling, bootstrap};

/// The counts of the passages of a dataset, in order, for two scores.
#[derive(Debug, Clone, Default)]
pub(crate) struct PassageCounts {
    pub(crate) official: Vec<Counts>,
    pub(crate) strict: Vec<Counts>,
}

/// Bootstrap intervals of micro F1, by passage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Of official F1.
    pub official: Interval,
    /// Of strict F1.
    pub strict: Interval,
}

impl PassageCounts {
    /// Adds the queries of a passage.
    pub(crate) fn add(&mut self, queries: &[Query]) {
        let mut official = OfficialCounts::default();
        for query in queries {
            official.merge(query.official);
        }
        let gold: Vec<_> = queries.iter().flat_map(|query| &query.gold).copied().collect();
        let predicted: Vec<_> =
            queries.iter().flat_map(|query| &query.predicted).copied().collect();
        let strict = SemevalCounts::of_passage(&gold, &predicted).strict.score();
        let counts = |correct: usize, predicted: usize, gold: usize| Counts {
            correct: correct as u32,
            partial: 0,
            predicted: predicted as u32,
            gold: gold as u32,
        };
        self.official.push(counts(official.n_correct, official.n_pred, official.n_gold));
        self.strict.push(counts(strict.correct, strict.actual, strict.possible));
    }

    pub(crate) fn intervals(&self) -> Option<Intervals> {
        let interval = |counts: &[Counts]| bootstrap(counts, &Resampling::default()).ok();
        Some(Intervals { official: interval(&self.official)?, strict: interval(&self.strict)? })
    }
}
