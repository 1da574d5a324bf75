//! One request for a file, or for the rest of it.

use std::io;
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, HeaderValue, StatusCode, header};
use ureq::{Agent, Body};

use crate::error::Problem;
use crate::retry::demanded;

const MAX_REDIRECTS: u32 = 5;

/// The connections of a download.
pub(crate) struct Http {
    agent: Agent,
    timeout: Duration,
}

/// Why there is no response.
pub(crate) enum NoReply {
    /// Another attempt may succeed.
    Retry(Problem),
    /// No other attempt would.
    Never(String),
}

/// A response whose body is not read yet.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The first byte of the body in the file, and the size of the file if the server says it.
    pub(crate) start: u64,
    pub(crate) total: Option<u64>,
    /// The identity of these exact bytes at the server.
    pub(crate) etag: Option<HeaderValue>,
    /// The pause that the server demands.
    pub(crate) pause: Option<Duration>,
    pub(crate) body: Body,
}

impl Http {
    pub(crate) fn new(timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .timeout_per_write(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            .user_agent(concat!("uner/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), timeout }
    }

    /// Requests a file from the byte `offset` on: only if it still has this `ETag`, if one is
    /// given, and all of it otherwise.
    pub(crate) fn get(
        &self,
        url: &str,
        offset: u64,
        etag: Option<&HeaderValue>,
    ) -> Result<Reply, NoReply> {
        let mut request = self.agent.get(url).config();
        // A redirect must not weaken the connection.
        request = request.https_only(url.starts_with("https://"));
        // A proxy of the environment does not reach this machine.
        if is_loopback(url) {
            request = request.proxy(None);
        }
        // Offsets and checksums are those of the file, not of a compressed form of it.
        let mut request = request.build().header(header::ACCEPT_ENCODING, "identity");
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
            if let Some(etag) = etag {
                request = request.header(header::IF_RANGE, etag);
            }
        }
        let (head, body) = request.call().map_err(|error| self.no_reply(error))?.into_parts();
        let (start, total) = extent(head.status, &head.headers);
        Ok(Reply {
            status: head.status,
            start,
            total,
            etag: strong_etag(&head.headers),
            pause: demanded(&head.headers, SystemTime::now()),
            body,
        })
    }

    fn no_reply(&self, error: ureq::Error) -> NoReply {
        use ureq::Error::{
            BadUri, ConnectProxyFailed, ConnectionFailed, HostNotFound, Protocol, RequireHttpsOnly,
            Timeout, TooManyRedirects,
        };
        match error {
            Timeout(_) => NoReply::Retry(self.timed_out()),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                NoReply::Retry(self.timed_out())
            }
            // rustls reports an invalid certificate as invalid data.
            ureq::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
                NoReply::Retry(Problem::Connection(error.to_string()))
            }
            HostNotFound | ConnectionFailed | ConnectProxyFailed(_) | Protocol(_) => {
                NoReply::Retry(Problem::Connection(error.to_string()))
            }
            TooManyRedirects => {
                NoReply::Never(format!("redirects more than `{MAX_REDIRECTS}` times"))
            }
            RequireHttpsOnly(target) => {
                NoReply::Never(format!("redirects to `{target}`, which is not encrypted"))
            }
            BadUri(_) => NoReply::Never("is not a valid address, or redirects to none".to_owned()),
            error => NoReply::Never(format!("cannot be requested: {error}")),
        }
    }

    /// The problem of a body that ended with an error.
    pub(crate) fn broken_body(&self, error: io::Error) -> Problem {
        match ureq::Error::from(error) {
            ureq::Error::Timeout(_) => self.timed_out(),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => self.timed_out(),
            error => Problem::Connection(error.to_string()),
        }
    }

    fn timed_out(&self) -> Problem {
        Problem::Timeout(self.timeout.as_secs())
    }
}

fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<ureq::http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The first byte of a response in its file, and the size of the file.
fn extent(status: StatusCode, headers: &HeaderMap) -> (u64, Option<u64>) {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // The length is then that of another form of the file.
    if text(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return (0, None);
    }
    if status == StatusCode::OK {
        return (0, text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()));
    }
    // `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10`
    let range = text(header::CONTENT_RANGE).and_then(|value| value.strip_prefix("bytes "));
    let Some((range, total)) = range.and_then(|range| range.split_once('/')) else {
        return (0, None);
    };
    let start = range.split_once('-').and_then(|(start, _)| start.parse().ok());
    (start.unwrap_or(0), total.parse().ok())
}

/// A weak `ETag` (`W/"…"`) does not promise equal bytes.
fn strong_etag(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::ETAG).filter(|etag| etag.as_bytes().starts_with(b"\"")).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn extents_are_read() {
        let of = |status: u16, name, value| {
            extent(StatusCode::from_u16(status).unwrap(), &headers(&[(name, value)]))
        };
        assert_eq!(of(200, "content-length", "10"), (0, Some(10)));
        assert_eq!(of(200, "content-range", "bytes 5-9/10"), (0, None));
        assert_eq!(of(206, "content-range", "bytes 5-9/10"), (5, Some(10)));
        assert_eq!(of(206, "content-range", "bytes 5-9/*"), (5, None));
        assert_eq!(of(206, "content-length", "5"), (0, None));
        assert_eq!(of(416, "content-range", "bytes */10"), (0, Some(10)));
        let encoded = headers(&[("content-length", "10"), ("content-encoding", "gzip")]);
        assert_eq!(extent(StatusCode::OK, &encoded), (0, None));
    }

    #[test]
    fn weak_etags_do_not_count() {
        assert!(strong_etag(&headers(&[("etag", "\"a\"")])).is_some());
        assert!(strong_etag(&headers(&[("etag", "W/\"a\"")])).is_none());
    }

    #[test]
    fn this_machine_is_recognised() {
        assert!(is_loopback("http://127.0.0.1:80/a") && is_loopback("http://[::1]/a"));
        assert!(is_loopback("http://localhost/") && !is_loopback("http://localhost.org/"));
    }
}
