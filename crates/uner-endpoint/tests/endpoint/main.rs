//! The client and a server on this machine.

// With this, clippy allows helpers of tests to unwrap.
#![cfg(test)]

mod answers;
mod journal;
mod limits;
mod retries;
mod secrets;
mod server;

use std::ops::ControlFlow;

use uner_endpoint::{
    Answer, ChatMessage, ChatRole, Client, Endpoint, EndpointError, Event, Failure, Request,
    Summary,
};

use server::Server;

/// A description for tests: short times, no limits.
fn endpoint(server: &Server) -> Endpoint {
    Endpoint { timeout_seconds: 5, max_retries: 3, ..Endpoint::new(server.url(), "m") }
}

fn request(text: &str) -> Request {
    Request::new(vec![ChatMessage::new(ChatRole::User, text)])
}

fn requests(texts: &[&str]) -> Vec<Request> {
    texts.iter().map(|text| request(text)).collect()
}

fn numbered(count: usize) -> Vec<Request> {
    (0..count).map(|number| request(&format!("r{number:03}"))).collect()
}

type Outcomes = Vec<(usize, Result<Answer, Failure>)>;

/// Runs to the end, and returns what was reported, in the order of the requests.
fn run(client: &Client, requests: Vec<Request>) -> (Outcomes, Result<Summary, EndpointError>) {
    let mut outcomes = Vec::new();
    let summary = client.complete_all(requests, |event| {
        if let Event::Answered { index, outcome } = event {
            outcomes.push((index, outcome));
        }
        ControlFlow::Continue(())
    });
    outcomes.sort_by_key(|(index, _)| *index);
    (outcomes, summary)
}

/// The texts of answers, all of which must exist.
fn texts(outcomes: &[(usize, Result<Answer, Failure>)]) -> Vec<&str> {
    outcomes.iter().map(|(_, outcome)| &*outcome.as_ref().unwrap().text).collect()
}

/// The outcome of one request.
fn one(endpoint: Endpoint) -> (Result<Answer, Failure>, Summary) {
    let client = Client::new(endpoint).unwrap();
    let (mut outcomes, summary) = run(&client, numbered(1));
    (outcomes.remove(0).1, summary.unwrap())
}
