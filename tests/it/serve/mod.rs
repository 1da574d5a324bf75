//! The server answers over sockets: entities, chats, errors, and hostile clients.

mod browser;
mod chat;
mod hostile;
mod load;
mod ner;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use burn::tensor::Device;
use serde_json::Value;
use uner_infer::{InferConfig, Predictor};
use uner_model::LlamaConfig;
use uner_model::weights::random;
use uner_prompt::{Template, Tokenizer};
use uner_serve::{ApiKeys, Config, Limits, Served, Stop, bind};

use crate::model::small_config;

const TEXT: &str = "Ada 👩‍🚀 met Bo in Rome. Ada ran.";
/// Time for an answer of a small model, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server, which stops when it is dropped.
struct Server {
    address: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), Box<dyn std::error::Error + Send + Sync>>>>,
}

/// A response.
#[derive(Debug)]
struct Response {
    status: u16,
    headers: String,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }
}

fn config() -> Config {
    Config {
        address: "127.0.0.1:0".parse().unwrap(),
        keys: ApiKeys::default(),
        origins: Vec::new(),
        limits: Limits { time: PATIENCE, ..Limits::default() },
        logs_texts: false,
    }
}

/// A model with random weights, the first from this seed on that finds some entities: its answers
/// mean nothing, and are in the format.
fn predictor(seed: u64, max_new_tokens: usize) -> Predictor<'static> {
    let models = (seed..).map(|seed| random_predictor(seed, max_new_tokens));
    let names_some = |model: &Predictor| {
        let found = model.predict(TEXT, &["person", "city"]).unwrap();
        found.len() > 1 && found.len() < 20
    };
    models.into_iter().find(names_some).unwrap()
}

fn random_predictor(seed: u64, max_new_tokens: usize) -> Predictor<'static> {
    let words = ["What describes person in the text? [\"Ada\", \"Bo\"] []", "Ada met Bo in Rome."];
    let tokenizer = Tokenizer::train(words.iter().cycle().take(40), 320).unwrap();
    let vocab_size = tokenizer.vocab_size();
    let config = LlamaConfig { vocab_size, max_position_embeddings: 1024, ..small_config() };
    let model = random(&config, seed, &Device::flex());
    let template = Template::load("zero-shot").unwrap();
    let infer = InferConfig { max_new_tokens, ..InferConfig::default() };
    Predictor::from_parts((model, config), tokenizer, template, infer).unwrap()
}

fn served(name: &str, predictor: Predictor<'static>) -> Served {
    let entity_types = vec!["person".to_owned(), "city".to_owned()];
    Served { name: name.to_owned(), predictor, entity_types }
}

impl Server {
    /// A server with one small model.
    fn start(config: Config) -> Self {
        Self::with(config, vec![served("small", predictor(1, 16))])
    }

    fn with(config: Config, models: Vec<Served>) -> Self {
        let bound = bind(config).unwrap();
        let (address, stop) = (bound.address().unwrap(), bound.stop());
        let thread = std::thread::spawn(move || bound.run(|| Ok(models), || ()));
        let server = Self { address, stop, thread: Some(thread) };
        while server.get("/ready").status != 200 {
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes, and reads until the server closes the connection.
    fn raw(&self, request: &[u8]) -> Response {
        let mut stream = self.connect();
        // A server that refuses a request may close while it is sent.
        let _ = stream.write_all(request);
        read(&mut stream)
    }

    fn get(&self, path: &str) -> Response {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
    }

    fn post(&self, path: &str, body: &str) -> Response {
        self.post_with(path, "", body.as_bytes())
    }

    /// Posts a body, with further headers.
    fn post_with(&self, path: &str, headers: &str, body: &[u8]) -> Response {
        self.raw(&post(path, headers, body))
    }

    fn stop(mut self) {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The bytes of a request.
fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Reads a response to its end. A connection that is reset has what was read before.
fn read(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.to_owned()
    };
    Response { status, headers: head.to_owned(), body }
}

/// A body without the lengths of its chunks.
fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        if length == 0 || rest.len() < length {
            break;
        }
        text.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    text
}

/// Runs a function on several threads, and returns what each returns.
fn on_threads<T: Send + 'static>(
    count: usize,
    run: impl Fn(usize) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let run = Arc::new(run);
    let threads: Vec<JoinHandle<T>> = (0..count)
        .map(|index| {
            let run = Arc::clone(&run);
            std::thread::spawn(move || run(index))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}
