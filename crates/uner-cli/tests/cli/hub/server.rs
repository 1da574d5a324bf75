//! A hub with one repository, `org/name`, for the requests of the program, with the faults of
//! servers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{git_name, sha256};

/// An address without a server.
pub(super) const NOBODY: &str = "http://127.0.0.1:9";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// The suffix of large files, which have another checksum.
const LARGE: &str = ".safetensors";

/// The fault of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Every response has this status.
    Status(u16),
    /// Files lie under another path.
    Redirect,
    /// Large files end in the middle.
    Short,
    /// Large files are sent completely, whatever range is requested.
    IgnoresRange,
    /// Large files have a bit flipped.
    Flipped,
}

struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    fault: Mutex<Fault>,
    asked: Mutex<Vec<String>>,
    address: SocketAddr,
}

/// A running server; it ends with the process.
pub(super) struct Hub(Arc<Shared>);

/// The parts of a request that are used.
struct Request {
    path: String,
    /// First byte of the range and, if given, the last.
    range: Option<(usize, Option<usize>)>,
}

impl Hub {
    pub(super) fn start(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            files: files.into_iter().collect(),
            fault: Mutex::new(Fault::None),
            asked: Mutex::default(),
            address: listener.local_addr().unwrap(),
        });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A closed connection does not stop the server.
                let _ = served.serve(stream.unwrap());
            }
        });
        Self(shared)
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.0.fault.lock().unwrap() = fault;
    }

    /// A line for each request: method and path, range, authorization.
    pub(super) fn asked(&self) -> Vec<String> {
        self.0.asked.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let request = self.read(&stream)?;
        let fault = *self.fault.lock().unwrap();
        if let Fault::Status(status) = fault {
            return write!(
                stream,
                "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        if request.path.starts_with("/api/") {
            let answer = self.answer();
            let length = answer.len();
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
            );
        }
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let Some(content) = self.files.get(name) else {
            return write!(
                stream,
                "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        };
        if fault == Fault::Redirect && !request.path.starts_with("/elsewhere/") {
            let etag = checksum(name, content);
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nX-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{etag}\"\r\nLocation: http://{}/elsewhere/{name}\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n",
                self.address
            );
        }
        self.send(&mut stream, name, content, &request)
    }

    fn read(&self, stream: &TcpStream) -> std::io::Result<Request> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let path = first.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let (mut range, mut authorization) = (String::new(), String::new());
        for line in lines {
            let line = line?;
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                    value.clone_into(&mut range);
                }
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    value.clone_into(&mut authorization);
                }
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        self.asked.lock().unwrap().push(format!("GET {path} {range} {authorization}"));
        let range = range.strip_prefix("bytes=").and_then(|range| {
            let (first, last) = range.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()))
        });
        Ok(Request { path, range })
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        name: &str,
        content: &[u8],
        request: &Request,
    ) -> std::io::Result<()> {
        let fault = *self.fault.lock().unwrap();
        let is_large = name.ends_with(LARGE);
        let (first, last) = request.range.unwrap_or((0, None));
        // A request for one byte reads the size.
        let first =
            if fault == Fault::IgnoresRange && is_large && last.is_none() { 0 } else { first };
        if first >= content.len() {
            return write!(
                stream,
                "HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        let end = last.map_or(content.len(), |last| (last + 1).min(content.len()));
        let mut part = content[first..end].to_vec();
        if fault == Fault::Flipped && is_large {
            part[0] ^= 1;
        }
        let sent = if fault == Fault::Short && is_large && part.len() > 1 {
            part.len() / 2
        } else {
            part.len()
        };
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"{}\"\r\nContent-Range: bytes {first}-{}/{}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            checksum(name, content),
            end - 1,
            content.len(),
            part.len()
        )?;
        stream.write_all(&part[..sent])
    }

    /// The hub's API response for the repository.
    fn answer(&self) -> String {
        let siblings: Vec<_> = self
            .files
            .iter()
            .map(|(name, content)| {
                let mut sibling =
                    json!({ "rfilename": name, "size": content.len(), "blobId": git_name(content) });
                if name.ends_with(LARGE) {
                    sibling["lfs"] = json!({ "sha256": sha256(content), "size": content.len() });
                }
                sibling
            })
            .collect();
        json!({ "sha": COMMIT, "siblings": siblings, "cardData": { "license": "other", "license_name": "llama2" } }).to_string()
    }
}

fn checksum(name: &str, content: &[u8]) -> String {
    if name.ends_with(LARGE) { sha256(content) } else { git_name(content) }
}
