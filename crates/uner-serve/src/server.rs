//! The parts of a server, from its start to its end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use crate::api;
use crate::config::Config;
use crate::connections::accept;
use crate::shared::Shared;
use crate::worker::{ModelError, Served};

/// Threads for connections; the engine has its own.
const THREADS: usize = 2;

/// A server with an address, which does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: Stop,
}

/// Stops a server.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

/// Takes the address of a server.
///
/// # Errors
/// When the address cannot be used.
pub fn bind(config: Config) -> io::Result<Bound> {
    let listener = TcpListener::bind(config.address).map_err(|error| {
        let text = format!("cannot listen on `{}`: {error}", config.address);
        io::Error::new(error.kind(), text)
    })?;
    listener.set_nonblocking(true)?;
    let shared = Arc::new(Shared::new(config));
    Ok(Bound { listener, shared, stop: Stop(watch::Sender::new(false)) })
}

impl Bound {
    /// The address.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A handle that stops the server.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Answers requests until it is stopped. `load` reads the models, the default first; until it
    /// returns, requests for them are answered with status 503. Then `ready` is called. When
    /// stopped, the server takes no more connections, and ends those it has after their request, or
    /// after the time limit.
    ///
    /// # Errors
    /// When `load` fails, a model cannot be served, or the system has no thread or socket.
    pub fn run<E>(
        self,
        load: impl FnOnce() -> Result<Vec<Served>, E> + Send,
        ready: impl FnOnce() + Send,
    ) -> Result<(), E>
    where
        E: From<ModelError> + From<io::Error> + Send,
    {
        let Self { listener, shared, stop } = self;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()?;
        let outcome = thread::scope(|scope| {
            let loader = scope.spawn(|| {
                let started = load().and_then(|served| Ok(shared.start(served)?));
                match &started {
                    Ok(()) => ready(),
                    Err(_) => stop.stop(),
                }
                started
            });
            let router = api::router(Arc::clone(&shared));
            let served = threads.block_on(accept(listener, router, &shared, stop.0.subscribe()));
            match loader.join() {
                Ok(loaded) => loaded.and(served.map_err(E::from)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        // Requests that are left are dropped, which cancels their jobs.
        threads.shutdown_timeout(Duration::from_secs(1));
        outcome
    }
}

impl Stop {
    /// Stops the server.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
