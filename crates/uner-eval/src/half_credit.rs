//! The partial score of the paper (§5.4, Table 5): a prediction that shares a word with a gold
//! entity counts half (Segura-Bedmar et al. 2013).
//!
//! The paper releases no code, and does not say how several overlaps are matched. Here both sides
//! are the normalised distinct strings of the official score, per query. Equal strings count 1.
//! Each other prediction, in order, counts ½ if it shares a word with a gold string that no earlier
//! one has taken; it takes the first such string.

use serde::{Deserialize, Serialize};

use crate::official::parse;
use crate::ratio::{f1, ratio};

/// Counts over queries. The order of merging does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HalfCreditCounts {
    /// Predictions that are gold.
    pub equal: usize,
    /// Predictions that share a word with gold.
    pub overlapping: usize,
    /// Predicted strings, distinct per query.
    pub predicted: usize,
    /// Gold strings, distinct per query.
    pub gold: usize,
}

/// The score, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HalfCreditScore {
    /// Hits over predicted strings.
    pub precision: f64,
    /// Hits over gold strings.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

impl HalfCreditCounts {
    /// Counts one query, from the text of its gold answer and of the response.
    pub fn of_query(gold_answer: &str, response: &str) -> Self {
        let (gold, predicted) = (parse(gold_answer), parse(response));
        let (num_gold, num_predicted) = (gold.len(), predicted.len());
        let (equal, others): (Vec<String>, Vec<String>) =
            predicted.into_iter().partition(|item| gold.contains(item));
        let mut free: Vec<&String> = gold.iter().filter(|item| !equal.contains(item)).collect();
        let mut takes = |item: &String| {
            let shares = |gold: &&String| gold.split(' ').any(|word| has_word(item, word));
            let index = free.iter().position(shares);
            index.map(|index| free.remove(index)).is_some()
        };
        let overlapping = others.iter().filter(|item| takes(item)).count();
        Self { equal: equal.len(), overlapping, predicted: num_predicted, gold: num_gold }
    }

    /// Adds the counts of further queries.
    pub fn merge(&mut self, other: Self) {
        self.equal += other.equal;
        self.overlapping += other.overlapping;
        self.predicted += other.predicted;
        self.gold += other.gold;
    }

    /// Precision, recall and F1.
    pub fn score(self) -> HalfCreditScore {
        let hits = self.equal as f64 + 0.5 * self.overlapping as f64;
        let precision = ratio(hits, self.predicted as f64);
        let recall = ratio(hits, self.gold as f64);
        HalfCreditScore { precision, recall, f1: f1(precision, recall) }
    }
}

fn has_word(text: &str, word: &str) -> bool {
    !word.is_empty() && text.split(' ').any(|own| own == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(gold: &str, response: &str) -> [usize; 4] {
        let HalfCreditCounts { equal, overlapping, predicted, gold } =
            HalfCreditCounts::of_query(gold, response);
        [equal, overlapping, predicted, gold]
    }

    #[test]
    fn a_shared_word_counts_half_and_takes_its_gold_string() {
        assert_eq!(counts(r#"["New York City"]"#, r#"["New York"]"#), [0, 1, 1, 1]);
        assert_eq!(counts(r#"["New York City"]"#, r#"["York", "City"]"#), [0, 1, 2, 1]);
        assert_eq!(counts(r#"["York", "New York"]"#, r#"["York", "New Jersey"]"#), [1, 1, 2, 2]);
        assert_eq!(counts(r#"["York"]"#, r#"["York", "New York"]"#), [1, 0, 2, 1]);
        assert_eq!(counts(r#"["Yorkshire"]"#, r#"["York"]"#), [0, 0, 1, 1]);
        assert_eq!(counts("[]", r#"["The"]"#), [0, 0, 1, 0]);
        let score = HalfCreditCounts { equal: 1, overlapping: 1, predicted: 2, gold: 3 }.score();
        assert!((score.precision - 0.75).abs() < 1e-12 && (score.recall - 0.5).abs() < 1e-12);
        assert!((score.f1 - 0.6).abs() < 1e-12);
    }
}
