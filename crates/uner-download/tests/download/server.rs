//! A server of files on this machine, with the faults of servers.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request that the server has read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) path: String,
    /// The first byte that is requested.
    pub(crate) offset: Option<usize>,
    pub(crate) if_range: Option<String>,
}

/// A response.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes of the body that are sent; its length is announced in full.
    sent: usize,
    /// Time before the connection ends.
    stall: Duration,
}

impl Reply {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        let (headers, stall) = (Vec::new(), Duration::ZERO);
        Self { status, headers, body: body.to_owned(), sent: body.len(), stall }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends at most so many bytes of the body.
    pub(crate) fn cut(mut self, sent: usize) -> Self {
        self.sent = self.sent.min(sent);
        self
    }

    /// Keeps the connection open for this time after the last byte.
    pub(crate) fn stalled(mut self, milliseconds: u64) -> Self {
        self.stall = Duration::from_millis(milliseconds);
        self
    }

    /// All of a file, by a server that cannot continue.
    pub(crate) fn whole(body: &[u8]) -> Self {
        Self::new(200, body)
    }

    /// A file or the rest of it, by a server that continues files as RFC 9110 says.
    pub(crate) fn file(seen: &Seen, body: &[u8], etag: &str) -> Self {
        let is_same = seen.if_range.as_ref().is_none_or(|if_range| if_range == etag);
        let reply = match seen.offset {
            Some(offset) if is_same && offset >= body.len() => {
                Self::new(416, b"").header("Content-Range", &format!("bytes */{}", body.len()))
            }
            Some(offset) if is_same => {
                let range = format!("bytes {offset}-{}/{}", body.len() - 1, body.len());
                Self::new(206, &body[offset..]).header("Content-Range", &range)
            }
            _ => Self::whole(body),
        };
        reply.header("ETag", etag)
    }
}

type Answer = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    bytes: usize,
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

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().seen.clone()
    }

    /// Bytes of bodies that were sent.
    pub(crate) fn bytes(&self) -> usize {
        self.log.lock().unwrap().bytes
    }
}

fn serve(stream: &TcpStream, log: &Mutex<Log>, answer: &Answer) -> std::io::Result<()> {
    let Some(seen) = read(stream)? else { return Ok(()) };
    let number = {
        let mut log = log.lock().unwrap();
        log.seen.push(seen.clone());
        log.seen.len() - 1
    };
    let reply = answer(number, &seen);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| name == "Transfer-Encoding") {
        write!(head, "Content-Length: {}\r\n", reply.body.len()).unwrap();
    }
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    log.lock().unwrap().bytes += reply.sent;
    stream.write_all(&reply.body[..reply.sent])?;
    stream.flush()?;
    std::thread::sleep(reply.stall);
    Ok(())
}

/// Reads a request; `None` if the connection was closed without one.
fn read(stream: &TcpStream) -> std::io::Result<Option<Seen>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut seen = Seen { path, ..Seen::default() };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { return Ok(Some(seen)) };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let offset = value.strip_prefix("bytes=").and_then(|v| v.strip_suffix('-'));
                seen.offset = Some(offset.unwrap().parse().unwrap());
            }
            "if-range" => seen.if_range = Some(value.to_owned()),
            "accept-encoding" => assert_eq!(value, "identity"),
            _ => {}
        }
    }
}
