//! Attempts that fail, and runs that end because of them.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use uner_endpoint::{Client, Endpoint, EndpointError, Failure, Problem};

use crate::server::{Reply, Server};
use crate::{endpoint, numbered, one, run, texts};

/// A server whose first reply is this, and whose others are completions.
fn first(reply: Reply) -> Server {
    Server::start(move |number, seen| match number {
        0 => reply.clone(),
        _ => Reply::completion(seen.text()),
    })
}

/// Asserts that the second attempt is answered, and returns the time between the attempts.
fn recovers(server: &Server) -> Duration {
    let (answer, summary) = one(endpoint(server));
    assert_eq!(answer.unwrap().text, "r000");
    assert_eq!((summary.usage.retries, summary.usage.requests, summary.usage.failed), (1, 1, 0));
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    seen[1].time - seen[0].time
}

#[test]
fn a_demanded_pause_is_kept() {
    let busy = json!({"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}});
    let seconds = first(Reply::new(429, &busy).header("Retry-After", 1));
    assert!(recovers(&seconds) >= Duration::from_secs(1));
    // A date has whole seconds, so this is 1 to 2 s ahead.
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    let date = first(Reply::new(503, "overloaded").header("Retry-After", date));
    assert!(recovers(&date) >= Duration::from_millis(500));
    let exact = first(Reply::new(429, &busy).header("retry-after-ms", 700));
    assert!(recovers(&exact) >= Duration::from_millis(700));
}

#[test]
fn all_requests_pause() {
    let server = Server::start(|number, seen| match number {
        0 => Reply::new(429, "slow down").header("Retry-After", 1),
        _ => Reply::completion(seen.text()).after(30),
    });
    let client = Client::new(Endpoint { concurrency: 2, ..endpoint(&server) }).unwrap();
    run(&client, numbered(6)).1.unwrap();
    let start = server.seen()[0].time;
    let early =
        server.seen().iter().filter(|seen| seen.time - start < Duration::from_millis(900)).count();
    // Those that were in flight already.
    assert!(early <= 2, "{early}");
}

#[test]
fn faults_of_servers_and_connections_pass() {
    for reply in [
        Reply::new(500, json!({"error": {"message": "oops"}})),
        Reply::new(502, "<html>bad gateway</html>"),
        Reply::new(200, "{\"choices\": ["),
        Reply::new(200, json!({"error": {"message": "provider failed", "code": 502}})),
        Reply::completion("cut in the middle").truncated(),
        Reply::completion("never sent").half_closed(),
        Reply::new(409, ""),
    ] {
        recovers(&first(reply));
    }
}

#[test]
fn a_slow_answer_times_out() {
    let server = first(Reply::completion("late").after(2500));
    let (answer, _) = one(Endpoint { timeout_seconds: 1, ..endpoint(&server) });
    assert_eq!(answer.unwrap().text, "r000");
    let server = Server::start(|_, _| Reply::completion("late").after(1500));
    let (answer, _) = one(Endpoint { timeout_seconds: 1, max_retries: 0, ..endpoint(&server) });
    let expected = Failure { problem: Problem::Timeout(1), attempts: 1 };
    assert_eq!(answer.unwrap_err(), expected);
}

#[test]
fn attempts_are_limited() {
    let server = Server::start(|_, _| Reply::new(500, "broken"));
    let (answer, summary) = one(Endpoint { max_retries: 2, ..endpoint(&server) });
    let expected = Problem::Unavailable { status: 500, message: "broken".to_owned() };
    assert_eq!(answer.unwrap_err(), Failure { problem: expected, attempts: 3 });
    assert_eq!((summary.usage.retries, summary.usage.failed), (2, 1));
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_pause_of_hours_is_not_waited_for() {
    let server = Server::start(|_, _| Reply::new(429, "tomorrow").header("Retry-After", 86_400));
    let start = Instant::now();
    let (answer, _) = one(endpoint(&server));
    assert_eq!(answer.unwrap_err().attempts, 1);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_refused_request_is_not_repeated_and_others_go_on() {
    let server = Server::start(|_, seen| match seen.text() {
        "r001" => Reply::new(400, json!({"error": {"message": "content policy"}})),
        text => Reply::completion(text),
    });
    let client = Client::new(endpoint(&server)).unwrap();
    let (mut outcomes, summary) = run(&client, numbered(4));
    assert_eq!(summary.unwrap().usage.failed, 1);
    let failure = outcomes.remove(1).1.unwrap_err();
    let expected =
        "the endpoint refused the request with status `400`: content policy (attempts: `1`)";
    assert_eq!(failure.to_string(), expected);
    assert_eq!(texts(&outcomes), ["r000", "r002", "r003"]);
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn a_wrong_key_or_model_ends_the_run() {
    for (status, message) in [(401, "Incorrect API key"), (404, "model `m` not found")] {
        let server =
            Server::start(move |_, _| Reply::new(status, json!({"error": {"message": message}})));
        let client = Client::new(Endpoint { concurrency: 1, ..endpoint(&server) }).unwrap();
        let (outcomes, summary) = run(&client, numbered(50));
        let error = summary.unwrap_err();
        assert!(matches!(error, EndpointError::Denied { status: found, .. } if found == status));
        assert!(error.to_string().contains(message), "{error}");
        assert!(outcomes.is_empty() && server.seen().len() == 1);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Server::echo();
    let location = format!("{}/chat/completions", elsewhere.url());
    let server = Server::start(move |_, _| Reply::new(308, "").header("Location", &location));
    let client = Client::new(endpoint(&server)).unwrap();
    let error = run(&client, numbered(1)).1.unwrap_err();
    assert!(matches!(error, EndpointError::Denied { status: 308, .. }), "{error}");
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn an_endpoint_that_is_not_there_ends_the_run() {
    // Nothing listens at this port.
    let endpoint = Endpoint {
        max_retries: 1,
        max_consecutive_failures: 3,
        concurrency: 2,
        ..Endpoint::new("http://127.0.0.1:9/v1", "m")
    };
    let client = Client::new(endpoint).unwrap();
    let (outcomes, summary) = run(&client, numbered(1000));
    let error = summary.unwrap_err();
    let EndpointError::Unreachable { failures: 3, last, .. } = &error else { panic!("{error}") };
    assert!(matches!(last.problem, Problem::Connection(_)) && last.attempts == 2);
    let start = "`3` requests to `http://127.0.0.1:9/v1` failed in succession, the last one so: the connection failed";
    assert!(error.to_string().starts_with(start), "{error}");
    assert!(outcomes.len() <= 3, "{}", outcomes.len());
}
