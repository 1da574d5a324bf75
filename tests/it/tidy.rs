//! Policy tests: the design's rules for sources, workspace, documents and configuration.
//!
//! Every check is a function from its input to a list of problems, and is itself tested on bad
//! input.

mod book;
mod circles;
mod documents;
mod glossary;
mod ops;
mod sources;
mod units;
mod workspace;

/// Fails with all problems at once.
fn assert_tidy(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
