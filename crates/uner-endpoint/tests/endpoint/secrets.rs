//! The key is sent, and is nowhere else.

use std::process::Command;

use serde_json::json;
use uner_endpoint::{Client, Endpoint, EndpointError};

use crate::server::{Reply, Server};
use crate::{endpoint, numbered, run};

const VARIABLE: &str = "UNER_TEST_ENDPOINT_KEY";
const KEY: &str = "sk-test-0123456789abcdefghij";

/// Runs this test again in a process whose environment has the key: a test cannot set a variable
/// of its own process safely.
fn with_key(test: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(VARIABLE, format!("{KEY}\n"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(KEY));
}

#[test]
fn a_key_is_only_in_the_header() {
    if std::env::var_os(VARIABLE).is_none() {
        return with_key("secrets::a_key_is_only_in_the_header");
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("answers.jsonl");
    // A server that repeats the key wherever it can.
    let server = Server::start(|_, seen| match seen.text() {
        "r000" => Reply::completion(&seen.authorization),
        "r001" => Reply::new(400, json!({"error": {"message": seen.authorization}})),
        "r002" => Reply::new(500, &seen.authorization),
        "r003" => Reply::new(200, format!("not JSON {}", seen.authorization)),
        _ => Reply::new(401, json!({"error": {"message": seen.authorization}})),
    });
    let endpoint = Endpoint {
        api_key_env: Some(VARIABLE.to_owned()),
        max_retries: 0,
        concurrency: 1,
        ..endpoint(&server)
    };
    let client = Client::new(endpoint).unwrap().with_journal(&journal).unwrap();
    let (outcomes, summary) = run(&client, numbered(5));
    assert!(server.seen().iter().all(|seen| seen.authorization == format!("Bearer {KEY}")));
    assert_eq!((outcomes.len(), server.seen().len()), (4, 5));
    let error = summary.unwrap_err();
    let mut shown = format!("{client:?} {:?} {error} {error:?}", client.endpoint());
    shown.extend(outcomes.iter().map(|(_, outcome)| match outcome {
        Ok(answer) => format!("{answer:?}"),
        Err(failure) => format!("{failure} {failure:?}"),
    }));
    shown += &fs_err::read_to_string(&journal).unwrap();
    assert!(shown.matches("[redacted]").count() >= 6, "the test is not one: {shown}");
    assert!(!shown.contains(KEY) && !shown.contains("0123456789"));
}

#[test]
fn a_missing_key_is_named_by_its_variable() {
    let endpoint = Endpoint {
        api_key_env: Some("UNER_NO_SUCH_KEY".to_owned()),
        ..Endpoint::new("http://127.0.0.1:9/v1", "m")
    };
    let error = Client::new(endpoint).unwrap_err();
    assert!(matches!(error, EndpointError::Key { .. }));
    assert!(error.to_string().contains("`UNER_NO_SUCH_KEY` is not set; set it"), "{error}");
}
