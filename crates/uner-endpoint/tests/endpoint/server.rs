//! An endpoint on this machine, with the faults of servers.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A response of the server.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    delay: Duration,
    /// Bytes of the body that are sent; its length is announced in full.
    sent: usize,
    /// Whether nothing is sent, and only the server's half of the connection is closed.
    is_half_closed: bool,
}

impl Reply {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "texts, numbers and JSON are written in place"
    )]
    pub(crate) fn new(status: u16, body: impl ToString) -> Self {
        let body = body.to_string();
        let sent = body.len();
        let (headers, delay, is_half_closed) = (Vec::new(), Duration::ZERO, false);
        Self { status, headers, body, delay, sent, is_half_closed }
    }

    /// A completion as OpenAI returns it.
    pub(crate) fn completion(text: &str) -> Self {
        Self::new(
            200,
            json!({
                "id": "chatcmpl-1", "object": "chat.completion", "model": "m-2024",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
                             "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }),
        )
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "texts, numbers and JSON are written in place"
    )]
    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn after(mut self, milliseconds: u64) -> Self {
        self.delay = Duration::from_millis(milliseconds);
        self
    }

    /// The server closes its half of the connection before it has sent anything, and goes on
    /// reading.
    pub(crate) fn half_closed(mut self) -> Self {
        self.is_half_closed = true;
        self
    }

    /// The connection ends in the middle of the body.
    pub(crate) fn truncated(mut self) -> Self {
        self.sent /= 2;
        self
    }
}

/// A request that the server has read.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
    pub(crate) time: Instant,
}

impl Seen {
    /// The text of the last message.
    pub(crate) fn text(&self) -> &str {
        let messages = self.body["messages"].as_array().unwrap();
        messages.last().unwrap()["content"].as_str().unwrap()
    }
}

type Answer = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    running: usize,
    most_running: usize,
}

/// A running server; it ends with the process.
pub(crate) struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Server {
    /// Answers the request with this number, from 0, in the order in which they come.
    pub(crate) fn start(answer: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), log: Arc::default() };
        let log = Arc::clone(&server.log);
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                // A closed connection does not stop the server.
                std::thread::spawn(move || serve(&stream.unwrap(), &log, &*answer));
            }
        });
        server
    }

    /// A server that repeats the last message in upper case.
    pub(crate) fn echo() -> Self {
        Self::start(|_, seen| Reply::completion(&seen.text().to_uppercase()))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().seen.clone()
    }

    /// The texts of all requests, sorted.
    pub(crate) fn texts(&self) -> Vec<String> {
        let mut texts: Vec<_> = self.seen().iter().map(|seen| seen.text().to_owned()).collect();
        texts.sort();
        texts
    }

    pub(crate) fn most_running(&self) -> usize {
        self.log.lock().unwrap().most_running
    }
}

fn serve(stream: &TcpStream, log: &Mutex<Log>, answer: &Answer) -> std::io::Result<()> {
    let Some(seen) = read(stream)? else { return Ok(()) };
    let number = {
        let mut log = log.lock().unwrap();
        log.seen.push(seen.clone());
        log.running += 1;
        log.most_running = log.most_running.max(log.running);
        log.seen.len() - 1
    };
    let reply = answer(number, &seen);
    std::thread::sleep(reply.delay);
    log.lock().unwrap().running -= 1;
    if reply.is_half_closed {
        stream.shutdown(Shutdown::Write)?;
        let mut stream = stream;
        stream.read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    let mut head = format!(
        "HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&reply.body.as_bytes()[..reply.sent])
}

/// Reads a request; `None` if the connection was closed without one.
fn read(stream: &TcpStream) -> std::io::Result<Option<Seen>> {
    let time = Instant::now();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let (mut length, mut authorization) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                value.clone_into(&mut authorization);
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body)?;
    Ok(Some(Seen { path, authorization, body, time }))
}
