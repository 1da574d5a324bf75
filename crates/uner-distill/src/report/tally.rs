//! Counts while training data is built.

use std::collections::BTreeMap;

use uner_data::Example;
use uner_data::middle_cut;
use uner_data::stats::{Distribution, Stats};
use uner_endpoint::Prices;

use crate::filter::Reasons;
use crate::folder::AnswerRecord;
use crate::passage::Passage;

use super::{Answers, Counts, DistillReport, Unparseable};

/// Most unparseable answers that are listed.
const LISTED: usize = 10;
/// Characters of a long answer that are shown at each of its ends.
const EDGE: usize = 100;

/// Counts of passages, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Counts,
    subsets: BTreeMap<String, Counts>,
    reasons: Reasons,
    unparseable: Vec<Unparseable>,
    types: Vec<usize>,
    teachers: BTreeMap<String, Answers>,
}

impl Tally {
    pub(crate) fn add_unanswered(&mut self, passage: &Passage) {
        self.count(passage, |counts| counts.unanswered += 1);
    }

    /// Counts an answer, parseable or not.
    pub(crate) fn add_answer(&mut self, record: &AnswerRecord) {
        let name = format!("{} ({})", record.model, record.prompt.name());
        let answers = self.teachers.entry(name).or_default();
        let is_first = answers.answers == 0;
        answers.answers += 1;
        answers.first = if is_first { record.time } else { answers.first.min(record.time) };
        answers.last = answers.last.max(record.time);
        match (record.input_tokens, record.output_tokens) {
            (Some(input), Some(output)) => {
                answers.tokens.input += input;
                answers.tokens.output += output;
            }
            _ => answers.without_tokens += 1,
        }
    }

    pub(crate) fn add_unparseable(&mut self, passage: &Passage, record: &AnswerRecord) {
        self.count(passage, |counts| counts.unparseable += 1);
        if self.unparseable.len() < LISTED {
            let answer = middle_cut(&record.answer, EDGE);
            self.unparseable.push(Unparseable { passage: passage.id.clone(), answer });
        }
    }

    /// Counts a passage that is kept. `num_pairs` is the number of pairs in its answer.
    pub(crate) fn add_annotated(
        &mut self,
        passage: &Passage,
        example: &Example,
        is_complete: bool,
        num_pairs: usize,
        reasons: Reasons,
    ) {
        let (num_entities, dropped) = (example.entities.len(), reasons.total());
        self.count(passage, |counts| {
            counts.annotated += 1;
            counts.without_entities += u64::from(num_pairs == 0);
            counts.emptied += u64::from(num_pairs > 0 && num_entities == 0);
            counts.cut_off += u64::from(!is_complete);
            counts.entities += num_entities as u64;
            counts.dropped += dropped;
        });
        self.types.push(example.queries.len());
        self.reasons.join(reasons);
    }

    pub(crate) fn report(self, statistics: Stats, prices: Option<Prices>) -> DistillReport {
        let mut teachers = self.teachers;
        for answers in teachers.values_mut() {
            let of = |tokens: u64, per_million: f64| tokens as f64 * per_million / 1e6;
            answers.money = prices.map_or(0.0, |prices| {
                of(answers.tokens.input, prices.input_per_million)
                    + of(answers.tokens.output, prices.output_per_million)
            });
        }
        DistillReport {
            counts: self.counts,
            subsets: self.subsets,
            dropped: self.reasons,
            unparseable: self.unparseable,
            statistics,
            types: Distribution::of(self.types),
            teachers,
            overlap: None,
        }
    }

    fn count(&mut self, passage: &Passage, add: impl Fn(&mut Counts)) {
        if !self.subsets.contains_key(&passage.subset) {
            self.subsets.insert(passage.subset.clone(), Counts::default());
        }
        let subset = self.subsets.get_mut(&passage.subset);
        for counts in subset.into_iter().chain([&mut self.counts]) {
            counts.passages += 1;
            add(counts);
        }
    }
}
