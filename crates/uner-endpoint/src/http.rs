//! One attempt: a request is sent, and a response or a failed connection comes back.

use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, HeaderValue, header};

use crate::config::Endpoint;
use crate::error::Problem;

/// Longest response that is read, in bytes.
const MAX_RESPONSE: u64 = 64 << 20;

/// A complete response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// The connections to an endpoint.
pub(crate) fn agent(endpoint: &Endpoint) -> Agent {
    let mut config = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(endpoint.timeout_seconds)))
        .http_status_as_error(false)
        // A redirect would send the key and the passages to another address.
        .max_redirects(0)
        .max_idle_connections(endpoint.concurrency)
        .max_idle_connections_per_host(endpoint.concurrency)
        .user_agent(concat!("uner/", env!("CARGO_PKG_VERSION")));
    // A proxy of the environment does not reach this machine.
    if is_loopback(endpoint.host()) {
        config = config.proxy(None);
    }
    config.build().into()
}

/// Sends a request and waits for the whole response.
pub(crate) fn send(
    agent: &Agent,
    endpoint: &Endpoint,
    key: Option<HeaderValue>,
    body: &str,
) -> Result<Response, Problem> {
    let failed = |error: ureq::Error| match error {
        ureq::Error::Timeout(_) => Problem::Timeout(endpoint.timeout_seconds),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            Problem::Timeout(endpoint.timeout_seconds)
        }
        error => Problem::Connection(error.to_string()),
    };
    let mut request =
        agent.post(endpoint.address()).header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, key);
    }
    let (head, mut body) = request.send(body).map_err(failed)?.into_parts();
    let text = body.with_config().limit(MAX_RESPONSE).read_to_vec().map_err(failed)?;
    Ok(Response {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8_lossy(&text).into_owned(),
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn this_machine_is_recognised() {
        assert!(["localhost", "127.0.0.1", "127.3.2.1", "::1"].into_iter().all(is_loopback));
        assert!(!["localhost.org", "10.0.0.1", ""].into_iter().any(is_loopback));
    }
}
