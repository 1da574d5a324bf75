//! The configuration of a server.

use std::net::SocketAddr;
use std::time::Duration;

use crate::keys::ApiKeys;

/// The configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// The keys of those who may ask; everybody may if it is empty.
    pub keys: ApiKeys,
    /// Origins whose pages may read answers in a browser (CORS); `*` for all.
    pub origins: Vec<String>,
    /// Limits of requests.
    pub limits: Limits,
    /// Whether texts are logged.
    pub logs_texts: bool,
}

/// Limits of requests and connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Texts and chats that are accepted and not answered, of each model.
    pub queue: usize,
    /// Longest body, in bytes.
    pub body: usize,
    /// Entity types of a request.
    pub types: usize,
    /// Time from the first byte of a request to its answer.
    pub time: Duration,
    /// Time for the headers of a request, and for which a connection may be idle.
    pub headers_time: Duration,
    /// Connections at the same time.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 256,
            body: 2 << 20,
            types: 100,
            time: Duration::from_mins(1),
            headers_time: Duration::from_secs(30),
            connections: 1024,
        }
    }
}
