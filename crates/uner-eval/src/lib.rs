//! Scores, comparisons and reports.
