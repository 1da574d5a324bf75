//! Many clients at once: a full queue, a server that stops, a server that loads.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::json;
use uner_serve::{Config, Limits, ModelError, bind};

use super::{PATIENCE, Response, Server, config, on_threads, predictor, served};

/// Clients that are refused and try again are all answered, with the answers of a lone client.
#[test]
fn a_full_queue_refuses_and_recovers() {
    let limits = Limits { queue: 4, time: PATIENCE, ..Limits::default() };
    let server = Arc::new(Server::start(Config { limits, ..config() }));
    let request = |client: usize, index: usize| {
        json!({"text": format!("Ada{client} met Bo{index}."), "types": ["person"]}).to_string()
    };
    let shared = Arc::clone(&server);
    let all = on_threads(16, move |client| {
        let mut refused = 0;
        let mut answers = Vec::new();
        for index in 0..8 {
            loop {
                let response = shared.post("/v1/ner", &request(client, index));
                match response.status {
                    200 => break answers.push(response.json()),
                    429 => {
                        let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
                        assert!((1..=60).contains(&wait));
                        assert_eq!(response.json()["error"]["type"], "rate_limit_error");
                        refused += 1;
                        std::thread::sleep(Duration::from_millis(3));
                    }
                    _ => panic!("{response:?}"),
                }
            }
        }
        (refused, answers)
    });
    assert!(all.iter().map(|(refused, _)| refused).sum::<usize>() > 0, "the queue was full");
    for (client, (_, answers)) in all.iter().enumerate() {
        let alone = server.post("/v1/ner", &request(client, 3)).json();
        assert_eq!(alone, answers[3], "client {client}");
    }
}

/// A server that is stopped answers the requests that it has, and takes no more.
#[test]
fn a_stopped_server_finishes_its_requests() {
    let server = Server::with(config(), vec![served("small", predictor(1, 200))]);
    let address = server.address;
    let texts: Vec<String> = (0..60).map(|index| format!("Ada{index} met Bo.")).collect();
    let request = json!({"text": texts, "types": ["a", "b", "c"]}).to_string();
    let (began, ready) = channel();
    let client = std::thread::spawn(move || -> Response {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(&super::post("/v1/ner", "", request.as_bytes())).unwrap();
        began.send(()).unwrap();
        super::read(&mut stream)
    });
    ready.recv().unwrap();
    while !server.get("/metrics").body.contains("uner_queue_length 6") {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.stop();
    assert_eq!(client.join().unwrap().status, 200);
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens");
}

#[test]
fn a_loading_server_says_so() {
    let bound = bind(config()).unwrap();
    let (address, stop) = (bound.address().unwrap(), bound.stop());
    let (go, wait) = channel::<()>();
    let thread = std::thread::spawn(move || {
        bound.run::<Box<dyn std::error::Error + Send + Sync>>(
            move || {
                wait.recv()?;
                Ok(vec![served("small", predictor(1, 16))])
            },
            || (),
        )
    });
    let server = Server { address, stop, thread: Some(thread) };
    let ready = server.get("/ready");
    assert_eq!((ready.status, ready.json()["status"].as_str()), (503, Some("loading")));
    assert_eq!(server.get("/health").status, 200);
    let early = server.post("/v1/ner", r#"{"text": "Ada", "types": ["person"]}"#);
    assert_eq!((early.status, early.header("retry-after")), (503, Some("1")));
    go.send(()).unwrap();
    while server.get("/ready").status != 200 {
        std::thread::sleep(Duration::from_millis(2));
    }
    server.stop();
}

#[test]
fn models_that_cannot_be_served_end_the_server() {
    type Problem = Box<dyn std::error::Error + Send + Sync>;
    let two = vec![served("small", predictor(1, 16)), served("small", predictor(2, 16))];
    let outcome = bind(config()).unwrap().run(move || Ok::<_, Problem>(two), || ());
    let error = outcome.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(ModelError::Ambiguous(_))), "{error}");
    let server = Server::start(config());
    let taken = bind(Config { address: server.address, ..config() }).unwrap_err().to_string();
    assert!(taken.contains(&server.address.to_string()), "{taken}");
}
