//! One request, as often as it needs to be sent. Runs on a thread of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::answer::{Answer, Tokens};
use crate::client::Client;
use crate::error::{EndpointError, Failure, Problem};
use crate::http::{Response, send};
use crate::journal::Entry;
use crate::request::Prepared;
use crate::response::{Verdict, verdict};
use crate::retry::{LONGEST_DEMANDED, backoff, demanded};
use crate::stop::Stop;

/// The end of a request.
#[derive(Debug)]
pub(crate) enum Attempted {
    /// The answer, which is in the journal.
    Answered(Answer, Tokens),
    /// No attempt was answered.
    Failed(Failure),
    /// It was not sent, or not sent again: the run was stopped.
    Unsent,
    /// The run cannot go on.
    Fatal(EndpointError),
    /// The thread of the request panicked.
    Panicked(Box<dyn std::any::Any + Send>),
}

/// Sends a request until it is answered or given up. `retries` counts attempts after the first.
pub(crate) fn attempt(
    client: &Client,
    prepared: &Prepared,
    stop: &Stop,
    retries: &AtomicU64,
) -> Attempted {
    for attempts in 1.. {
        if !client.limiter.acquire(prepared.tokens(), stop) {
            return Attempted::Unsent;
        }
        if attempts > 1 {
            retries.fetch_add(1, Ordering::Relaxed);
        }
        let (problem, pause) = match once(client, prepared) {
            Once::Done(attempted) => return attempted,
            Once::Failed(problem) => return Attempted::Failed(Failure { problem, attempts }),
            Once::Again(problem, pause) => (problem, pause),
        };
        let is_hopeless = pause.is_some_and(|pause| pause > LONGEST_DEMANDED);
        if attempts > client.endpoint.max_retries || is_hopeless {
            return Attempted::Failed(Failure { problem, attempts });
        }
        if let Some(pause) = pause {
            client.limiter.pause(pause);
        }
        // Behind a pause that all requests share, they still do not come back together.
        if stop.wait(pause.unwrap_or_default() + backoff(attempts)) {
            return Attempted::Unsent;
        }
    }
    unreachable!("the number of attempts is limited")
}

/// The end of one attempt.
enum Once {
    Done(Attempted),
    Failed(Problem),
    /// Another attempt may succeed, after a pause if the endpoint demands one.
    Again(Problem, Option<Duration>),
}

fn once(client: &Client, prepared: &Prepared) -> Once {
    let start = Instant::now();
    let sent = send(&client.agent, &client.endpoint, client.secret.header(), &prepared.body);
    let latency = start.elapsed();
    let Response { status, headers, body } = match sent {
        Ok(response) => response,
        // The endpoint may have worked on it, so its tokens stay counted.
        Err(problem) => return Once::Again(problem, None),
    };
    let judged = verdict(&client.endpoint, status, &client.secret.redact(body));
    if !matches!(judged, Verdict::Answered(..)) {
        client.limiter.correct(prepared.tokens(), 0);
    }
    match judged {
        Verdict::Answered(answer, response) => {
            let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let answer = Answer { time: time.as_secs(), latency, ..answer };
            Once::Done(record(client, prepared, answer, response))
        }
        Verdict::Failed(problem) => Once::Failed(problem),
        Verdict::Denied(error) => Once::Done(Attempted::Fatal(error)),
        Verdict::Retry(problem) => Once::Again(problem, demanded(&headers, SystemTime::now())),
    }
}

/// Counts an answer and writes it to the journal.
fn record(client: &Client, prepared: &Prepared, answer: Answer, response: Value) -> Attempted {
    let tokens = prepared.counted(&answer);
    client.limiter.correct(prepared.tokens(), tokens.input + tokens.output);
    let entry = || Entry::new(&client.endpoint, prepared.key, &answer, tokens, response);
    match client.record(prepared.key, tokens, entry) {
        Ok(()) => Attempted::Answered(answer, tokens),
        Err(error) => Attempted::Fatal(error),
    }
}
