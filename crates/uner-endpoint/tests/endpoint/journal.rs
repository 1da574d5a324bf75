//! Runs that were killed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use uner_endpoint::{Client, Endpoint, EndpointError, Event};

use crate::server::Server;
use crate::{endpoint, numbered, run, texts};

#[test]
fn a_killed_run_pays_no_answer_twice() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("answers.jsonl");
    let server = Server::echo();
    let one_by_one = Endpoint { concurrency: 1, ..endpoint(&server) };
    let open = || Client::new(one_by_one.clone()).unwrap().with_journal(&journal).unwrap();
    let client = open();
    let mut answered = 0;
    let killed = catch_unwind(AssertUnwindSafe(|| {
        client.complete_all(numbered(20), |event| {
            answered += usize::from(matches!(event, Event::Answered { .. }));
            assert!(answered < 7, "killed");
            std::ops::ControlFlow::Continue(())
        })
    }));
    assert!(killed.is_err());
    drop(client);
    // The process died while it wrote the last line.
    let whole = fs_err::read_to_string(&journal).unwrap();
    let complete = whole.lines().count();
    assert!((7..=8).contains(&complete), "{complete}");
    fs_err::write(&journal, &whole[..whole.len() - 20]).unwrap();
    let paid_before = server.seen().len();

    let client = open();
    assert_eq!(client.estimate(&numbered(20)).cached, complete as u64 - 1);
    let (outcomes, summary) = run(&client, numbered(20));
    let expected: Vec<String> = (0..20).map(|number| format!("R{number:03}")).collect();
    assert_eq!(texts(&outcomes), expected);
    let usage = summary.unwrap().usage;
    assert_eq!((usage.cached, usage.requests), (complete as u64 - 1, 21 - complete as u64));
    assert_eq!(server.seen().len(), paid_before + 21 - complete);
    drop(client);

    // A complete journal needs no endpoint, and says the same.
    let paid = server.seen().len();
    let client = open();
    let (again, summary) = run(&client, numbered(20));
    assert_eq!(texts(&again), expected);
    assert!(again.iter().all(|(_, answer)| answer.as_ref().unwrap().cached));
    assert_eq!(again[0].1.as_ref().unwrap().latency, outcomes[0].1.as_ref().unwrap().latency);
    assert_eq!((summary.unwrap().usage.requests, server.seen().len()), (0, paid));
}

#[test]
fn failures_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("answers.jsonl");
    let server = Server::start(|_, _| crate::server::Reply::new(400, "no"));
    let client = Client::new(endpoint(&server)).unwrap().with_journal(&journal).unwrap();
    run(&client, numbered(2)).1.unwrap();
    assert_eq!(fs_err::read_to_string(&journal).unwrap(), "");
}

#[test]
fn a_journal_may_have_several_models_but_one_client() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("answers.jsonl");
    let server = Server::echo();
    let client = Client::new(endpoint(&server)).unwrap().with_journal(&journal).unwrap();
    run(&client, numbered(2)).1.unwrap();
    let other = Endpoint { model: "other".to_owned(), ..endpoint(&server) };
    let error = Client::new(other.clone()).unwrap().with_journal(&journal).unwrap_err();
    assert!(matches!(error, EndpointError::JournalInUse(_)), "{error}");
    drop(client);
    let client = Client::new(other).unwrap().with_journal(&journal).unwrap();
    assert_eq!(client.spent_tokens().input, 0);
    run(&client, numbered(2)).1.unwrap();
    assert_eq!(server.seen().len(), 4);
}
