//! Accepts connections, and ends them.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::shared::Shared;

/// Largest headers of a request, in bytes.
const LARGEST_HEADERS: usize = 64 << 10;
/// Most headers of a request.
const MOST_HEADERS: usize = 100;
/// Pause when the system has no socket left.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until `stop` is true, and waits for the requests that are in work.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    shared: &Shared,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let limits = shared.config.limits;
    let places = Arc::new(Semaphore::new(limits.connections));
    let open = GracefulShutdown::new();
    loop {
        // Further connections wait in the system's queue.
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        // Answers are small, and each is complete.
        let _ = stream.set_nodelay(true);
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(client);
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers_time)
            .max_buf_size(LARGEST_HEADERS)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        let connection = open.watch(connection);
        tokio::spawn(async move {
            // A broken connection concerns its client only.
            let _ = connection.await;
            drop(place);
        });
    }
    shared.begin_to_stop();
    drop(listener);
    if timeout(limits.time, open.shutdown()).await.is_err() {
        tracing::warn!("some requests were not answered in time, and are dropped");
    }
    Ok(())
}
