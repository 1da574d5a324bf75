//! The differences between a file of predictions and a dataset.

use indexmap::IndexMap;

/// How far the predictions of a file answer the queries of a split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Number of examples.
    pub examples: usize,
    /// Number of predictions.
    pub predictions: usize,
    /// Examples without a prediction. Their queries count as answered by `[]`.
    pub missing: usize,
    /// The id of the first of them.
    pub first_missing: Option<String>,
    /// Predictions that are for no example.
    pub unmatched: usize,
    /// The location of the first of them.
    pub first_unmatched: Option<String>,
    /// Predictions with other tokens than their example, matched by the numbers of tokens.
    pub by_tokens: usize,
    /// The location of the first of them.
    pub first_by_tokens: Option<String>,
    /// Labels that the dataset has no type for, with the number of their entities, which do not
    /// count.
    pub unknown_labels: IndexMap<String, usize>,
    /// Entities with a score below the threshold.
    pub below_threshold: usize,
    /// Spans in groups of spaCy's that are not read: only `sc` is.
    pub unread_spans: usize,
}

impl Coverage {
    /// A sentence for each difference that affects the scores; empty if there are none.
    pub fn problems(&self) -> Vec<String> {
        let first = |first: &Option<String>| first.clone().unwrap_or_default();
        let mut found = Vec::new();
        if self.missing > 0 {
            found.push(format!(
                "{} of {} examples have no prediction (the first: `{}`) and count as answered by `[]`",
                self.missing, self.examples, first(&self.first_missing)
            ));
        }
        if self.unmatched > 0 {
            found.push(format!(
                "{} of {} predictions are for no example (the first: {})",
                self.unmatched,
                self.predictions,
                first(&self.first_unmatched)
            ));
        }
        if self.by_tokens > 0 {
            found.push(format!(
                "{} sentences have other tokens than their examples (the first: {}) and are matched by order",
                self.by_tokens, first(&self.first_by_tokens)
            ));
        }
        if !self.unknown_labels.is_empty() {
            let labels = self.unknown_labels.iter();
            let listed: Vec<String> =
                labels.map(|(label, count)| format!("`{label}` ({count})")).collect();
            found.push(format!(
                "entities with these labels do not count, because the dataset has no such types: {}; map labels with other names to types by `labels`",
                listed.join(", ")
            ));
        }
        if self.unread_spans > 0 {
            found.push(format!(
                "{} spans in groups other than `sc` are not read",
                self.unread_spans
            ));
        }
        found
    }
}
