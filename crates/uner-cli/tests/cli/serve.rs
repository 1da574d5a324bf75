//! `uner serve` as a process.

#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{Desk, fixture};

/// A server that answers, which is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    /// The lines of stderr.
    log: BufReader<std::process::ChildStderr>,
    address: String,
}

impl Running {
    /// Starts `uner serve` with these options, and waits until it answers.
    pub(crate) fn serve(desk: &Desk, options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uner"));
        command.arg("serve").args(options).args(["--listen", "127.0.0.1:0"]);
        command.current_dir(desk.0.path()).env_remove("RUST_LOG").env_remove("UNER_API_KEYS");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, log, address: String::new() };
        server.address = server.announced();
        server
    }

    /// The address that it prints when it answers.
    fn announced(&mut self) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the server ended: {said}");
            if let Some(address) = line.trim().strip_suffix(" answers") {
                return address.strip_prefix("http://").unwrap().to_owned();
            }
            said.push_str(&line);
        }
    }

    /// Posts a body. Returns the status and the body of the answer.
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Ends the server as a service manager does.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }

    /// What it has written, after it was stopped.
    fn stopped_log(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success());
        log
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ASK: &str = r#"{"text": "Tim Cook runs Apple.", "types": ["person"]}"#;

/// The entities of an answer, as `uner predict` prints them: type, text, position, probability.
fn served_entities(answer: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let entities = answer["results"][0]["entities"].as_array().unwrap().iter();
    let entity = |found: &Value| {
        serde_json::json!([
            found["type"],
            found["text"],
            found["start"],
            found["end"],
            found["probability"]
        ])
    };
    entities.map(entity).collect()
}

fn predicted_entities(desk: &Desk, model: &str) -> Vec<Value> {
    let text = ["--text", "Tim Cook runs Apple.", "--types", "person"];
    let outcome = desk.uner(&[&["predict", "--model", model][..], &text].concat());
    let found: Value = serde_json::from_str(&outcome.succeeds().stdout).unwrap();
    let entities = found["entities"].as_array().unwrap().iter();
    let entity = |found: &Value| {
        serde_json::json!([
            found["entity_type"],
            found["text"],
            found["span"]["start"],
            found["span"]["end"],
            found["probability"]
        ])
    };
    entities.map(entity).collect()
}

/// A model and its adapter answer as they do alone; the log has no texts.
#[test]
fn a_model_and_its_adapter_are_served() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let base = "run/step-000004";
    let weights = format!("model.weights={base}");
    let tokenizer = format!("model.tokenizer={base}/tokenizer.json");
    let adapter = "model.adapter={ rank = 2, alpha = 4, target_modules = [\"q_proj\"] }";
    desk.train(&["run.dir=tuned", "train.lr=0.5", &weights, &tokenizer, adapter]).succeeds();
    let types = desk.read("run/step-000004/types.txt");
    assert_eq!(types, desk.read("tuned/types.txt"));
    assert!(types.lines().any(|line| line == "person"), "{types}");
    let server = Running::serve(&desk, &["--model", "run", "--adapter", "other=tuned"]);
    let (status, first) = server.post("/v1/ner", ASK);
    assert_eq!(status, 200, "{first}");
    assert_eq!(served_entities(&first), predicted_entities(&desk, "run"));
    let (_, other) = server.post("/v1/ner", &ASK.replacen('{', r#"{"model": "other", "#, 1));
    assert_eq!(served_entities(&other), predicted_entities(&desk, "tuned"));
    let log = server.stopped_log();
    let lines: Vec<Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert_eq!((&lines[0]["status"], &lines[0]["path"]), (&200.into(), &"/v1/ner".into()));
    assert_eq!(lines[0]["summary"]["characters"], 20);
    assert!(!log.contains("Tim Cook") && log.ends_with("stopped\n"), "{log}");
}

#[test]
fn options_that_cannot_work_are_refused() {
    let desk = Desk::new();
    desk.uner(&["serve", "--model", "nowhere"]).fails(1, &["nowhere"]);
    let model = fixture("llama");
    let model = model.to_str().unwrap();
    desk.write("keys", "short\n");
    let serve = |more: &[&str]| {
        let listen = ["serve", "--model", model, "--listen", "127.0.0.1:0"];
        desk.uner(&[&listen[..], more].concat())
    };
    serve(&["--api-keys", "keys"]).fails(1, &["`keys`, key 1", "at least 16"]);
    serve(&["--timeout", "18446744073709551615"]).fails(2, &["--timeout"]);
    serve(&["--queue", "0"]).fails(2, &["--queue"]);
    serve(&["--allow-origin", "https://a.example/page"]).fails(1, &["without a path"]);
    serve(&["--adapter", "name"]).fails(2, &["it must be a name and a folder"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    desk.uner(&["serve", "--model", model, "--listen", &address])
        .fails(1, &["cannot listen", &address]);
}

#[test]
fn completions_and_manual_pages_are_written() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = desk.uner(&["completions", shell]);
        assert!(script.succeeds().stdout.contains("max-new-tokens"), "{shell}");
    }
    desk.uner(&["man", "pages"]).succeeds();
    let page = desk.read("pages/uner-serve.1");
    assert!(page.contains("Answer requests over HTTP"), "{page}");
}
