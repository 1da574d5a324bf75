//! The metric of InstructUIE. Answers are `type: name; type: name`, compared as sets of formatted
//! strings.
//!
//! Peculiarities of the original (`src/evaluation/evaluator.py`, `EvaluatorNER`) are kept: `None`
//! is an entity like any other, so a right `None` is a hit; an empty answer is one empty entity;
//! and `location` is replaced by `located` everywhere.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    official,
    ratio::{f1, ratio},
};

/// Normalises a string: collapses white space and removes it around `, : ( ) . _ ; ' -`; converts
/// to lower case; deletes braces; merges repeated commas, full stops and semicolons; replaces `’`
/// by `'` and `location` by `located`.
pub fn format(text: &str) -> String {
    let spaced = official::split(text).collect::<Vec<_>>().join(" ");
    let tight = without_spaces_at_punctuation(&spaced).to_lowercase();
    let mut merged = String::with_capacity(tight.len());
    for c in tight.chars().filter(|c| !matches!(c, '{' | '}')) {
        if !(matches!(c, ',' | '.' | ';') && merged.ends_with(c)) {
            merged.push(c);
        }
    }
    merged.replace('’', "'").replace("location", "located")
}

/// Removes the spaces next to punctuation. Runs of spaces are already collapsed.
fn without_spaces_at_punctuation(text: &str) -> String {
    let is_tight = |c: char| matches!(c, ',' | ':' | '(' | ')' | '.' | '_' | ';' | '\'' | '-');
    let mut tight = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let beside = tight.chars().next_back().is_some_and(is_tight)
            || characters.peek().is_some_and(|next| is_tight(*next));
        if c != ' ' || !beside {
            tight.push(c);
        }
    }
    tight
}

/// The set of `type:name` strings of an answer.
pub fn entities(answer: &str) -> BTreeSet<String> {
    // Formatted twice, as in the original: the whole answer, then each piece.
    format(answer).split(';').map(format).collect()
}

/// Counts over answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InstructUieCounts {
    /// Strings both gold and predicted.
    pub tp: usize,
    /// Gold strings that were not predicted.
    pub r#fn: usize,
    /// Predicted strings that are not gold.
    pub fp: usize,
}

impl InstructUieCounts {
    /// Counts one answer against its gold answer.
    pub fn of_answer(gold_answer: &str, output: &str) -> Self {
        let (gold, predicted) = (entities(gold_answer), entities(output));
        let tp = gold.intersection(&predicted).count();
        Self { tp, r#fn: gold.len() - tp, fp: predicted.len() - tp }
    }

    /// Adds the counts of further answers.
    pub fn merge(&mut self, other: Self) {
        self.tp += other.tp;
        self.r#fn += other.r#fn;
        self.fp += other.fp;
    }

    /// Micro precision, recall and F1.
    pub fn score(self) -> InstructUieScore {
        let Self { tp, r#fn, fp } = self;
        let precision = ratio(tp as f64, (tp + fp) as f64);
        let recall = ratio(tp as f64, (tp + r#fn) as f64);
        InstructUieScore { f1: f1(precision, recall), precision, recall, tp, r#fn, fp }
    }
}

/// The InstructUIE score, from 0 to 1, with its counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InstructUieScore {
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Hits over predicted.
    pub precision: f64,
    /// Hits over gold.
    pub recall: f64,
    /// Strings both gold and predicted.
    pub tp: usize,
    /// Gold strings that were not predicted.
    pub r#fn: usize,
    /// Predicted strings that are not gold.
    pub fp: usize,
}
