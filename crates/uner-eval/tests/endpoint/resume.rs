//! Evaluations that ended early go on, and ask nothing twice.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use uner_endpoint::{Endpoint, Prices};
use uner_eval::EvalError;
use uner_eval::systems::endpoint::Ask;

use crate::server::{Reply, Server};
use crate::{all_asked, asked, benchmark, endpoint, measured, right, scored, zero_shot};

const URL: &str = "UNER_TEST_ENDPOINT_URL";
const ROOT: &str = "UNER_TEST_ENDPOINT_ROOT";
/// Examples: the second part of an evaluation has a few.
const EXAMPLES: usize = 70;
/// The request that is not answered before the process is killed: it is of the second part.
const HELD: usize = 135;

fn one_by_one(url: &str) -> Endpoint {
    Endpoint { concurrency: 1, ..endpoint(url) }
}

/// The evaluation that is killed, in a process of its own; nothing in other runs of the tests.
#[test]
fn killed() {
    let (Ok(url), Ok(root)) = (std::env::var(URL), std::env::var(ROOT)) else { return };
    let root = PathBuf::from(root);
    let benchmark = benchmark(&root, EXAMPLES);
    measured(&root, one_by_one(&url), zero_shot(), &benchmark).unwrap();
}

#[test]
fn a_killed_evaluation_asks_nothing_twice() {
    let root = tempfile::tempdir().unwrap();
    let server =
        Server::start(|number, seen| right(seen).after(if number == HELD { 120_000 } else { 0 }));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "resume::killed"])
        .env(URL, server.url())
        .env(ROOT, root.path())
        .spawn()
        .unwrap();
    while server.seen().len() <= HELD {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let lost = asked(&server.seen()[HELD]);

    let benchmark = benchmark(root.path(), EXAMPLES);
    let resume = || {
        let report = measured(root.path(), one_by_one(&server.url()), zero_shot(), &benchmark);
        assert_eq!(scored(&report.unwrap()).scores.semeval.strict.f1, 1.0);
    };
    resume();
    let mut all = all_asked(&server);
    assert_eq!(all.len(), 2 * EXAMPLES + 1);
    all.dedup();
    assert_eq!(all.len(), 2 * EXAMPLES, "only the request that was lost is sent again");
    assert_eq!(server.seen()[HELD + 1..].iter().filter(|seen| asked(seen) == lost).count(), 1);

    // The journal alone has all answers.
    fs_err::remove_dir_all(root.path().join("evaluation")).unwrap();
    resume();
    assert_eq!(server.seen().len(), 2 * EXAMPLES + 1);
}

#[test]
fn a_budget_ends_an_evaluation_which_goes_on_with_a_larger_one() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| Reply::completion("person: Ada, Bob | city: Rome"));
    // An answer has 10 and 5 tokens, and costs 20.
    let with_budget = |budget: f64| Endpoint {
        prices: Some(Prices { input_per_million: 1e6, output_per_million: 2e6 }),
        budget: Some(budget),
        ..one_by_one(&server.url())
    };
    let benchmark = benchmark(root.path(), 5);
    let run = |budget| measured(root.path(), with_budget(budget), Ask::AllTypes, &benchmark);
    let Err(EvalError::System(error)) = run(100.0) else { panic!("the budget was not kept") };
    let message = error.to_string();
    let sent = server.seen().len();
    assert!((1..5).contains(&sent), "{sent}");
    let start =
        format!("the budget of model `m` has no room for the next of `{}` requests", 5 - sent);
    assert!(message.starts_with(&start) && message.contains("raise `budget`"), "{message}");

    let report = run(1000.0).unwrap();
    assert_eq!(scored(&report).scores.semeval.strict.f1, 1.0);
    assert_eq!(server.seen().len(), 5);
    let other = measured(root.path(), one_by_one(&server.url()), zero_shot(), &benchmark);
    let error = other.unwrap_err();
    assert!(matches!(error, EvalError::Other { .. }), "another prompt is another system: {error}");
}
