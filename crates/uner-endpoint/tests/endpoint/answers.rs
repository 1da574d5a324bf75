//! Requests, answers, their order and their number at a time.

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::json;
use uner_endpoint::{Client, End, Endpoint, Event, Problem, Request, Tokens};

use crate::server::{Reply, Server};
use crate::{endpoint, numbered, one, request, requests, run, texts};

#[test]
fn a_request_has_the_settings_and_its_answer_everything() {
    let server = Server::echo();
    let mut endpoint = endpoint(&server);
    endpoint.max_tokens = Some(9);
    endpoint.extra.insert("top_k".to_owned(), json!(1));
    let (answer, summary) = one(endpoint);
    let answer = answer.unwrap();
    assert_eq!((&*answer.text, answer.cached), ("R000", false));
    assert_eq!(answer.finish_reason.as_deref(), Some("stop"));
    assert_eq!(answer.model.as_deref(), Some("m-2024"));
    assert_eq!(answer.tokens, Some(Tokens { input: 10, output: 5 }));
    assert!(answer.time > 1_700_000_000);
    assert_eq!(server.seen().len(), 1);
    let seen = server.seen().remove(0);
    assert_eq!((&*seen.path, &*seen.authorization), ("/v1/chat/completions", ""));
    let expected = json!({
        "model": "m", "messages": [{"role": "user", "content": "r000"}],
        "temperature": 0.0, "max_tokens": 9, "top_k": 1,
    });
    assert_eq!(seen.body, expected);
    assert_eq!((summary.end, summary.usage.requests), (End::Complete, 1));
    assert_eq!(summary.usage.tokens, Tokens { input: 10, output: 5 });
    assert!(summary.usage.latency(0.5).is_some());
}

/// A server whose first requests take longest.
fn slow_starter() -> Server {
    Server::start(|_, seen| {
        let number: u64 = seen.text()[1..].parse().unwrap();
        Reply::completion(seen.text()).after(120_u64.saturating_sub(20 * number))
    })
}

#[test]
fn answers_come_as_they_arrive_and_concurrency_is_limited() {
    let server = slow_starter();
    let client = Client::new(Endpoint { concurrency: 4, ..endpoint(&server) }).unwrap();
    let mut indices = Vec::new();
    let summary = client.complete_all(numbered(12), |event| {
        if let Event::Answered { index, outcome } = event {
            assert_eq!(outcome.unwrap().text, format!("r{index:03}"));
            indices.push(index);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(summary.unwrap().usage.requests, 12);
    assert_ne!(indices, (0..12).collect::<Vec<_>>());
    indices.sort_unstable();
    assert_eq!(indices, (0..12).collect::<Vec<_>>());
    assert_eq!(server.most_running(), 4);
}

#[test]
fn equal_requests_are_sent_once() {
    let server = Server::start(|_, seen| Reply::completion(seen.text()).after(50));
    let client = Client::new(endpoint(&server)).unwrap();
    let (mut outcomes, summary) = run(&client, requests(&["a", "b", "a", "a"]));
    assert_eq!(texts(&outcomes), ["a", "b", "a", "a"]);
    let cached: Vec<bool> = outcomes.drain(..).map(|(_, answer)| answer.unwrap().cached).collect();
    assert_eq!(cached, [false, false, true, true]);
    assert_eq!(server.texts(), ["a", "b"]);
    let usage = summary.unwrap().usage;
    assert_eq!((usage.requests, usage.cached), (2, 2));
    // Another seed is another request.
    let extra = [("seed".to_owned(), json!(1))].into_iter().collect();
    let seeded = Request { extra, ..request("a") };
    run(&client, vec![request("a"), seeded]).1.unwrap();
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn servers_without_usage_are_estimated() {
    let ollama = json!({
        "id": "chatcmpl-7", "object": "chat.completion", "created": 1, "model": "llama3.2",
        "system_fingerprint": "fp_ollama",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "12345678"},
                     "finish_reason": "stop"}],
    });
    let llama_cpp = json!({
        "choices": [{"finish_reason": "length", "index": 0,
                     "message": {"role": "assistant", "content": "12345678"}}],
        "created": 1, "model": "gpt-3.5-turbo", "object": "chat.completion", "usage": null,
        "timings": {"prompt_n": 8, "predicted_n": 2},
    });
    for response in [ollama, llama_cpp] {
        let server = Server::start(move |_, _| Reply::new(200, &response));
        let (answer, summary) = one(endpoint(&server));
        assert_eq!(answer.unwrap().tokens, None);
        // `r000` is a token, a message around it 4, and the answer 2.
        assert_eq!(summary.usage.tokens, Tokens { input: 5, output: 2 });
        assert_eq!(summary.usage.estimated, 1);
    }
}

#[test]
fn a_prompt_that_is_too_long_fails_alone() {
    let server = Server::start(|_, seen| match seen.text() {
        "long" => Reply::new(
            400,
            json!({"error": {
                "message": "This model's maximum context length is 8192 tokens.",
                "type": "invalid_request_error", "code": "context_length_exceeded",
            }}),
        ),
        text => Reply::completion(text),
    });
    let client =
        Client::new(Endpoint { max_consecutive_failures: 1, ..endpoint(&server) }).unwrap();
    let (outcomes, summary) = run(&client, requests(&["a", "long", "b"]));
    assert_eq!(summary.unwrap().usage.failed, 1);
    let failure = outcomes[1].1.clone().unwrap_err();
    assert!(matches!(failure.problem, Problem::ContextLength(_)));
    assert_eq!(
        failure.to_string(),
        "the prompt does not fit the model: This model's maximum context length is 8192 tokens.; \
         shorten the passage, or use a model with a longer context (attempts: `1`)"
    );
    assert_eq!(outcomes[2].1.as_ref().unwrap().text, "b");
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn progress_is_reported_while_nothing_is_answered() {
    let server = Server::start(|_, seen| Reply::completion(seen.text()).after(900));
    let client = Client::new(endpoint(&server)).unwrap();
    let mut waiting = 0;
    let mut last = None;
    let summary = client.complete_all(numbered(2), |event| {
        if let Event::Progress { usage, in_flight } = event {
            waiting += usize::from(in_flight == 2);
            last = Some((usage.clone(), in_flight));
        }
        ControlFlow::Continue(())
    });
    assert!(waiting >= 2, "{waiting}");
    assert_eq!(last, Some((summary.unwrap().usage, 0)));
}

#[test]
fn latencies_are_those_of_answered_attempts() {
    let server = Server::start(|_, seen| Reply::completion(seen.text()).after(60));
    let (answer, summary) = one(endpoint(&server));
    assert!(answer.unwrap().latency >= Duration::from_millis(60));
    assert!(summary.usage.latency(1.0).unwrap() >= Duration::from_millis(60));
}
