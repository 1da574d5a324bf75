//! Clients that are slow, wrong, greedy or gone.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;
use uner_serve::{Config, Limits};

use super::{PATIENCE, Server, config, post, predictor, read, served};
use crate::hostile::{cases, changed, changes};

/// The server of the random requests.
static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(config()));

const GOOD: &str = r#"{"text": "Ada met Bo.", "types": ["person"]}"#;

fn assert_answers(server: &Server) {
    assert_eq!(server.post("/v1/ner", GOOD).status, 200);
}

/// Bodies that are no requests get status 400 with a message in JSON.
#[test]
fn broken_bodies_are_refused() {
    let server = Server::start(config());
    let deep = "[".repeat(100_000);
    let deep_object = format!("{{\"text\": {deep}");
    let deep_unknown = format!(r#"{{"x": {}"#, "{\"a\":".repeat(100_000));
    let surrogate = r#"{"text": "\ud800", "types": ["x"]}"#;
    let twice = format!("{GOOD}{GOOD}");
    for body in [
        b"" as &[u8],
        b"{",
        b"null",
        b"[]",
        b"\"text\"",
        b"{\"text\": \"a\", \"types\": [\"x\"], \"threshold\": NaN}",
        b"{\"text\": \"a\", \"types\": [\"x\"], \"threshold\": 1e999}",
        b"{\"text\": \"\xff\xfe\", \"types\": [\"x\"]}",
        b"\xef\xbb\xbf{\"text\": \"a\", \"types\": [\"x\"]}",
        b"{\"text\": \"a\", \"text\": \"b\", \"types\": [\"x\"]}",
        b"{\"text\": \"a\x00\", \"types\": [\"x\"]}",
        surrogate.as_bytes(),
        deep.as_bytes(),
        deep_object.as_bytes(),
        deep_unknown.as_bytes(),
        twice.as_bytes(),
    ] {
        for path in ["/v1/ner", "/v1/chat/completions"] {
            let response = server.post_with(path, "", body);
            let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_eq!(response.status, 400, "{path} {start}: {response:?}");
            assert!(response.json()["error"]["message"].is_string(), "{start}: {response:?}");
        }
    }
    assert_answers(&server);
}

#[test]
fn bodies_of_the_wrong_kind_or_size_are_refused() {
    let limits = Limits { body: 1000, time: PATIENCE, ..Limits::default() };
    let server = Server::start(Config { limits, ..config() });
    let form = "POST /v1/ner HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(server.raw(form.as_bytes()).status, 415);
    // By its length alone, which may be a lie.
    for length in ["1001", "99999999999999"] {
        let head = format!(
            "POST /v1/ner HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        assert_eq!(server.raw(head.as_bytes()).status, 413, "{length}");
    }
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let head = "POST /v1/ner HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Content-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n");
    assert_eq!(server.raw(chunked.as_bytes()).status, 413);
    let small = format!("{head}{:x}\r\n{GOOD}\r\n0\r\n\r\n", GOOD.len());
    assert_eq!(server.raw(small.as_bytes()).status, 200);
    assert_answers(&server);
}

/// Requests that are not HTTP, and paths that leave the server's.
#[test]
fn broken_requests_are_refused() {
    let server = Server::start(config());
    for (request, status) in [
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET /page.js/../../../Cargo.toml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET /v1/models/..%2f..%2fetc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET /v1/models/%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        ("DELETE /v1/ner HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\n\r\n", 400),
    ] {
        let response = server.raw(request.as_bytes());
        assert_eq!(response.status, status, "{request}: {response:?}");
    }
    let many = "X-Many: y\r\n".repeat(1000);
    let flood = format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert_eq!(server.raw(flood.as_bytes()).status, 431);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(1 << 20));
    assert_eq!(server.raw(long.as_bytes()).status, 431);
    let path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(1 << 20));
    let status = server.raw(path.as_bytes()).status;
    assert!([414, 431].contains(&status), "{status}");
    assert_answers(&server);
}

/// Clients that send their headers or body byte by byte are cut off, and others are answered.
#[test]
fn slow_clients_are_cut_off() {
    let time = Duration::from_millis(1500);
    let headers_time = Duration::from_millis(500);
    let limits = Limits { time, headers_time, connections: 8, ..Limits::default() };
    let server = Server::start(Config { limits, ..config() });
    let mut slow: Vec<_> = (0..7).map(|_| server.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").unwrap();
    }
    let began = Instant::now();
    for _ in 0..4 {
        std::thread::sleep(headers_time / 4);
        for stream in &mut slow {
            let _ = stream.write_all(b"y");
        }
    }
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(began.elapsed() < PATIENCE / 2, "headers took {:?}", began.elapsed());
    let mut stream = server.connect();
    let request = post("/v1/ner", "", GOOD.as_bytes());
    stream.write_all(&request[..request.len() - 5]).unwrap();
    let response = read(&mut stream);
    assert_eq!(response.status, 408, "{response:?}");
}

/// A connection that is silent does not keep others from being answered, and is closed.
#[test]
fn idle_connections_are_closed() {
    let headers_time = Duration::from_millis(200);
    let limits = Limits { headers_time, time: PATIENCE, ..Limits::default() };
    let server = Server::start(Config { limits, ..config() });
    let mut idle: Vec<_> = (0..50).map(|_| server.connect()).collect();
    assert_eq!(server.post("/v1/ner", GOOD).status, 200);
    for stream in &mut idle {
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}

/// A client that closes its side of the connection has gone: its jobs leave the queue.
#[test]
fn a_request_whose_client_goes_away_frees_its_place() {
    let server = Server::with(config(), vec![served("small", predictor(1, 400))]);
    let texts: Vec<String> = (0..200).map(|index| format!("Ada{index} met Bo in Rome.")).collect();
    let request = json!({"text": texts, "types": ["a", "b", "c", "d", "e", "f", "g", "h"]});
    let length = || {
        let metrics = server.get("/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with("uner_queue_length "));
        line.unwrap().rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    let mut stream = server.connect();
    stream.write_all(&post("/v1/ner", "", request.to_string().as_bytes())).unwrap();
    while length() == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let waiting = length();
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    let began = Instant::now();
    while length() > 0 {
        assert!(began.elapsed() < PATIENCE, "{} of {waiting} jobs are left", length());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(server.get("/health").status, 200, "the engine did not panic");
    assert_answers(&server);
}

/// An answer that takes too long has a status, and its jobs end.
#[test]
fn a_late_answer_is_an_error() {
    let limits = Limits { time: Duration::from_millis(50), ..Limits::default() };
    let models = vec![served("small", predictor(1, 400))];
    let server = Server::with(Config { limits, ..config() }, models);
    let texts: Vec<String> = (0..250).map(|index| format!("Ada{index} met Bo in Rome.")).collect();
    let request = json!({"text": texts, "types": ["a", "b", "c", "d", "e", "f", "g", "h"]});
    let response = server.post("/v1/ner", &request.to_string());
    assert_eq!(response.status, 504, "{response:?}");
    assert!(response.json()["error"]["message"].as_str().unwrap().contains("0.05 s"));
}

const CHAT: &str = r#"{"model": "small", "messages": [{"role": "user", "content": "Ada met Bo."}],
    "max_tokens": 4, "temperature": 0.5, "top_p": 0.9, "stop": ["x"], "stream": true}"#;
const NER: &str = r#"{"text": ["Ada met Bo.", "x"], "types": ["person", {"name": "city",
    "definition": "a place"}], "threshold": 0.25, "model": "small"}"#;

proptest! {
    #![proptest_config(cases())]

    /// A damaged body is answered: with what it asks for, or with an error in JSON.
    #[test]
    fn damaged_bodies_are_answered(changes in changes()) {
        for (path, body) in [("/v1/ner", NER), ("/v1/chat/completions", CHAT)] {
            let response = SERVER.post_with(path, "", &changed(body.as_bytes(), &changes));
            prop_assert!([200, 400, 404].contains(&response.status), "{response:?}");
            if response.status != 200 {
                prop_assert!(response.json()["error"]["message"].is_string());
            }
        }
    }

    /// A damaged request is answered or cut off, and the server answers the next one.
    #[test]
    fn damaged_requests_end(changes in changes()) {
        let request = changed(&post("/v1/ner", "X-Request-Id: 1\r\n", NER.as_bytes()), &changes);
        let mut stream = SERVER.connect();
        let _ = stream.write_all(&request);
        let _ = stream.shutdown(Shutdown::Write);
        let response = read(&mut stream);
        prop_assert!(response.status != 500, "{response:?}");
        prop_assert_eq!(SERVER.get("/health").status, 200);
    }
}
