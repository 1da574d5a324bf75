//! Rates, budgets and interruptions.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use uner_endpoint::{Client, End, Endpoint, Event, Prices, Request, Summary, Tokens};

use crate::server::{Reply, Server};
use crate::{endpoint, numbered, request, run};

/// The time from the first to the last request that a server has read.
fn duration(server: &Server) -> Duration {
    let seen = server.seen();
    seen.last().unwrap().time - seen[0].time
}

#[test]
fn requests_per_minute_are_limited() {
    let server = Server::echo();
    let limited = Endpoint { requests_per_minute: Some(300), ..endpoint(&server) };
    run(&Client::new(limited).unwrap(), numbered(12)).1.unwrap();
    // 5 at once, then one every 0.2 s.
    let duration = duration(&server);
    assert!(duration > Duration::from_millis(1100), "{duration:?}");
}

#[test]
fn tokens_per_minute_are_limited_by_what_is_counted() {
    // Each request is estimated at 5 + 200 tokens, and counted as 15; 15 flow in per second.
    let server = Server::echo();
    let limited = Endpoint {
        tokens_per_minute: Some(900),
        max_tokens: Some(200),
        concurrency: 1,
        ..endpoint(&server)
    };
    run(&Client::new(limited).unwrap(), numbered(4)).1.unwrap();
    let duration = duration(&server);
    // By estimates it would take 40 s.
    assert!(duration > Duration::from_millis(1600), "{duration:?}");
    assert!(duration < Duration::from_secs(20), "{duration:?}");
}

/// Requests whose prompt is estimated at 10 tokens: 24 characters, and 4 for the message.
fn long(count: usize) -> Vec<Request> {
    (0..count).map(|number| request(&format!("{number:024}"))).collect()
}

#[test]
fn a_budget_stops_before_it_is_exceeded() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("answers.jsonl");
    let server = Server::echo();
    // An answer has 10 and 5 tokens, as estimated, and costs 20.
    let with_budget = |budget| {
        let limited = Endpoint {
            prices: Some(Prices { input_per_million: 1e6, output_per_million: 2e6 }),
            budget: Some(budget),
            max_tokens: Some(5),
            ..endpoint(&server)
        };
        Client::new(limited).unwrap().with_journal(&journal).unwrap()
    };
    let client = with_budget(110.0);
    let forecast = client.estimate(&long(10));
    assert_eq!(forecast.tokens, Tokens { input: 100, output: 50 });
    assert_eq!((forecast.requests, forecast.money), (10, 200.0));
    let (outcomes, summary) = run(&client, long(10));
    let Summary { usage, end } = summary.unwrap();
    assert_eq!((end, usage.requests, usage.unsent), (End::BudgetReached, 5, 5));
    assert_eq!((outcomes.len(), server.seen().len()), (5, 5));
    assert_eq!((usage.money, client.spent_money()), (100.0, 100.0));
    drop(client);

    // An earlier run has spent it, and what it paid for is still reported.
    let client = with_budget(110.0);
    let (outcomes, summary) = run(&client, long(10));
    let Summary { usage, end } = summary.unwrap();
    assert_eq!((end, outcomes.len()), (End::BudgetReached, 5));
    assert_eq!((usage.cached, usage.unsent, usage.money), (5, 5, 0.0));
    drop(client);

    let client = with_budget(200.0);
    let Summary { usage, end } = run(&client, long(10)).1.unwrap();
    assert_eq!((end, usage.requests), (End::Complete, 5));
    assert_eq!(server.seen().len(), 10);
}

#[test]
fn tokens_have_a_budget_too() {
    let server = Server::echo();
    let limited = Endpoint { max_total_tokens: Some(45), concurrency: 1, ..endpoint(&server) };
    let client = Client::new(limited).unwrap();
    let summary = run(&client, numbered(9)).1.unwrap();
    // Three have 45 tokens, and the estimate of the next is 5.
    assert_eq!((summary.end, summary.usage.requests), (End::BudgetReached, 3));
    assert_eq!(client.spent_tokens(), Tokens { input: 30, output: 15 });
}

#[test]
fn an_interrupted_run_waits_for_what_is_paid() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("answers.jsonl");
    let server = Server::start(|number, seen| {
        Reply::completion(seen.text()).after(if number == 0 { 20 } else { 400 })
    });
    let four = Endpoint { concurrency: 4, ..endpoint(&server) };
    let client = Client::new(four.clone()).unwrap().with_journal(&journal).unwrap();
    let mut answered = 0;
    let summary = client.complete_all(numbered(100), |event| {
        if matches!(event, Event::Answered { .. }) {
            answered += 1;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let summary = summary.unwrap();
    assert_eq!((summary.end, answered), (End::Interrupted, 1));
    let sent = server.seen().len();
    assert!((1..=4).contains(&sent), "{sent}");
    assert_eq!(summary.usage.requests, sent as u64);
    drop(client);
    let lines = fs_err::read_to_string(&journal).unwrap().lines().count();
    assert_eq!(lines, sent);
    let client = Client::new(four).unwrap().with_journal(&journal).unwrap();
    assert_eq!(client.estimate(&numbered(100)).cached, sent as u64);
}

#[test]
fn an_interruption_ends_all_waits() {
    let server = Server::start(|_, _| Reply::new(429, "").header("Retry-After", 300));
    let client = Client::new(endpoint(&server)).unwrap();
    let start = Instant::now();
    let summary = client.complete_all(numbered(100), |event| match event {
        Event::Progress { .. } if start.elapsed() > Duration::from_millis(600) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    let summary = summary.unwrap();
    assert_eq!((summary.end, summary.usage.requests), (End::Interrupted, 0));
    assert_eq!(summary.usage.unsent, 8);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_panic_of_the_callers_function_ends_all_waits() {
    let server = Server::start(|_, _| Reply::new(429, "").header("Retry-After", 300));
    let client = Client::new(endpoint(&server)).unwrap();
    let start = Instant::now();
    let run = || client.complete_all(numbered(100), |_| panic!("no more"));
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    assert!(start.elapsed() < Duration::from_secs(5));
}
