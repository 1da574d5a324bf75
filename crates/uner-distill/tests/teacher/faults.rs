//! A teacher behind a server with faults.

use std::collections::HashMap;

use serde_json::json;
use uner_distill::teacher::open_endpoint;
use uner_endpoint::{Endpoint, EndpointError};

use crate::server::{Reply, Server};
use crate::{annotate, answer, built, passage, write_passages};

const PASSAGES: usize = 60;

/// The fault of the first attempt about a passage; `None` if it is answered.
fn fault(number: usize) -> Option<Reply> {
    let good = || Reply::completion("[('Rome', 'city')]");
    Some(match number % 12 {
        0 => Reply::new(429, json!({"error": {"message": "slow"}})).header("retry-after-ms", 20),
        1 => Reply::new(500, "oops"),
        2 => good().after(1500),
        3 => good().truncated(),
        4 => good().half_closed(),
        5 => Reply::new(200, "{\"choices\": [{\"message\": {\"content\": \"[("),
        6 => Reply::new(200, json!({"choices": [{"text": "not a chat"}]})),
        7 => Reply::new(200, json!({"choices": [{"message": {"content": 7}}]})),
        8 => Reply::new(503, "").header("Retry-After", 0),
        _ => return None,
    })
}

/// The number of a passage in a prompt.
fn number(prompt: &str) -> usize {
    let (_, text) = prompt.split_once("Passage: No. ").unwrap();
    text.split(':').next().unwrap().parse().unwrap()
}

/// The reply to every attempt after a fault.
fn good(prompt: &str) -> Reply {
    // One answer has 10 MB.
    let filler = if number(prompt) == 13 { "x".repeat(10_000_000) } else { String::new() };
    Reply::completion(&(answer(prompt) + &filler))
}

#[test]
fn faults_lose_no_answer_and_pay_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..PASSAGES).map(passage));
    let attempts = std::sync::Mutex::new(HashMap::new());
    let faulty = Server::start(move |_, seen| {
        let number = number(seen.text());
        let mut attempts = attempts.lock().unwrap();
        let attempt = attempts.entry(number).or_insert(0);
        *attempt += 1;
        // Passage 11 is refused for good.
        match fault(number) {
            _ if number == 11 => Reply::new(400, json!({"error": {"message": "content policy"}})),
            Some(reply) if *attempt == 1 => reply,
            _ => good(seen.text()),
        }
    });
    let endpoint = Endpoint {
        timeout_seconds: 1,
        concurrency: 8,
        max_retries: 3,
        ..Endpoint::new(faulty.url(), "m")
    };
    let run = folder.path().join("faulty");
    let mut client = open_endpoint(endpoint.clone(), &run).unwrap();
    let summary = annotate(&run, &passages, &mut client).unwrap();
    drop(client);
    let numbers = [summary.answered, summary.failed, summary.cached, summary.unanswered()];
    assert_eq!(numbers, [PASSAGES as u64 - 1, 1, 0, 1]);
    assert_eq!(summary.failures[0].passage, "web/11");
    assert!(summary.failures[0].reason.contains("content policy"), "{:?}", summary.failures);
    // A fault is one more attempt, and an answer is the last one.
    let faults = (0..PASSAGES).filter(|number| fault(*number).is_some() && *number != 11).count();
    assert_eq!(faulty.seen().len(), PASSAGES + faults);
    assert_eq!(summary.tokens.input, 10 * summary.answered);

    // The refused passage is tried again, and nothing else.
    let good_server = Server::start(|_, seen| good(seen.text()));
    let mut client =
        open_endpoint(Endpoint { url: good_server.url(), ..endpoint.clone() }, &run).unwrap();
    let summary = annotate(&run, &passages, &mut client).unwrap();
    assert_eq!((summary.answered, good_server.seen().len()), (1, 1));

    let undisturbed = folder.path().join("undisturbed");
    let url = good_server.url();
    let mut client = open_endpoint(Endpoint { url, ..endpoint }, &undisturbed).unwrap();
    annotate(&undisturbed, &passages, &mut client).unwrap();
    assert!(built(&run, &passages) == built(&undisturbed, &passages));
}

#[test]
fn a_budget_ends_a_run_that_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..40).map(passage));
    let server = Server::start(|_, seen| good(seen.text()).after(5));
    let url = server.url();
    let endpoint = Endpoint {
        max_total_tokens: Some(500),
        max_tokens: Some(100),
        concurrency: 2,
        ..Endpoint::new(url, "m")
    };
    let mut client = open_endpoint(endpoint.clone(), folder.path()).unwrap();
    let summary = annotate(folder.path(), &passages, &mut client).unwrap();
    drop(client);
    assert_eq!(summary.end, uner_endpoint::End::BudgetReached);
    assert!((2..40).contains(&summary.answered), "{summary:?}");
    assert_eq!((summary.failed, server.seen().len() as u64), (0, summary.answered));
    let endpoint = Endpoint { max_total_tokens: None, ..endpoint };
    let mut client = open_endpoint(endpoint, folder.path()).unwrap();
    let rest = annotate(folder.path(), &passages, &mut client).unwrap();
    assert_eq!(rest.answered + summary.answered, 40);
    assert_eq!(server.seen().len(), 40);
}

#[test]
fn a_teacher_that_does_not_work_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..40).map(passage));
    let server = Server::start(|number, seen| match number {
        0..10 => good(seen.text()),
        _ => Reply::new(401, json!({"error": {"message": "Incorrect API key"}})),
    });
    let endpoint = Endpoint { concurrency: 1, ..Endpoint::new(server.url(), "m") };
    let mut client = open_endpoint(endpoint, folder.path()).unwrap();
    let error = annotate(folder.path(), &passages, &mut client).unwrap_err();
    assert!(error.to_string().contains("Incorrect API key"), "{error}");
    let uner_distill::DistillError::Teacher(error) = error else { panic!("not the teacher's") };
    assert!(matches!(error.downcast_ref(), Some(EndpointError::Denied { status: 401, .. })));
    let answers = fs_err::read_to_string(folder.path().join("answers.jsonl")).unwrap();
    assert_eq!(answers.lines().count(), 10);
}
