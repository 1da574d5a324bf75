//! Counts of a run, while it runs and at its end.

use std::time::Duration;

use uner_endpoint::{Answer, End, Failure, Tokens};

/// Most failures that are listed.
const LISTED: usize = 20;

/// A passage whose request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedPassage {
    /// The id of the passage.
    pub passage: String,
    /// Why it has no answer.
    pub reason: String,
}

/// Counts of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Passages of the run, or of its shard.
    pub total: u64,
    /// Passages that had an answer before.
    pub before: u64,
    /// Passages that got an answer.
    pub answered: u64,
    /// Those of them whose answer was paid for before, or for an equal passage.
    pub cached: u64,
    /// Answers that were cut off at the limit of tokens.
    pub cut_off: u64,
    /// Passages whose request failed.
    pub failed: u64,
    /// The first of them.
    pub failures: Vec<FailedPassage>,
    /// Tokens that were paid for, as far as the teacher reports them.
    pub tokens: Tokens,
    /// Their price; 0 without prices.
    pub money: f64,
    /// The duration.
    pub elapsed: Duration,
    /// Why the run ended.
    pub end: End,
}

impl Summary {
    pub(super) fn new(total: u64, before: u64) -> Self {
        Self {
            total,
            before,
            answered: 0,
            cached: 0,
            cut_off: 0,
            failed: 0,
            failures: Vec::new(),
            tokens: Tokens::default(),
            money: 0.0,
            elapsed: Duration::ZERO,
            end: End::Complete,
        }
    }

    /// Passages that still have no answer, those that failed included.
    pub fn unanswered(&self) -> u64 {
        self.total.saturating_sub(self.before + self.answered)
    }

    pub(super) fn count(&mut self, answer: &Answer) {
        self.answered += 1;
        self.cached += u64::from(answer.cached);
        self.cut_off += u64::from(answer.is_cut_off());
        if let Some(tokens) = answer.tokens.filter(|_| !answer.cached) {
            self.tokens.input += tokens.input;
            self.tokens.output += tokens.output;
        }
    }

    pub(super) fn fail(&mut self, passage: String, failure: &Failure) {
        self.failed += 1;
        if self.failures.len() < LISTED {
            self.failures.push(FailedPassage { passage, reason: failure.to_string() });
        }
    }
}

/// Counts of a run that goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Passages of the run, or of its shard.
    pub total: u64,
    /// Passages with an answer, those of earlier runs included.
    pub answered: u64,
    /// Passages whose request failed.
    pub failed: u64,
    /// Requests in work.
    pub in_flight: usize,
    /// Tokens that were paid for in this run.
    pub tokens: Tokens,
    /// Their price; 0 without prices.
    pub money: f64,
    /// Time since the start.
    pub elapsed: Duration,
    /// Time that is left, at the rate so far; `None` before the first answer.
    pub remaining: Option<Duration>,
}

impl Progress {
    pub(super) fn new(summary: &Summary, in_flight: usize, elapsed: Duration) -> Self {
        // Answers from the journal come at once, and say nothing about the others.
        let paid = summary.answered - summary.cached + summary.failed;
        let left = summary.unanswered().saturating_sub(summary.failed);
        let remaining = (paid > 0).then(|| elapsed.mul_f64(left as f64 / paid as f64));
        Self {
            total: summary.total,
            answered: summary.before + summary.answered,
            failed: summary.failed,
            in_flight,
            tokens: summary.tokens,
            money: summary.money,
            elapsed,
            remaining,
        }
    }
}
