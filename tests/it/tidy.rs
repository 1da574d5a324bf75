//! Policy: what the design asks of sources, workspace, documents and configuration.
//!
//! Every check is a function from what it looks at to a list of problems, and is itself tested on
//! something bad.

mod circles;
mod documents;
mod ops;
mod sources;
mod units;
mod workspace;

/// Fails with all problems at once.
fn assert_tidy(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
