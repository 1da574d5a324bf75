//! The state that all requests of a server share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::worker::{Model, ModelError, Served};

/// The state that all requests of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    /// The models, the default first. None before they are loaded.
    models: OnceLock<Vec<Model>>,
    is_stopping: AtomicBool,
    num_requests: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            metrics: Metrics::new(),
            models: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
            num_requests: AtomicU64::new(0),
        }
    }

    /// Starts the workers of models.
    pub(crate) fn start(&self, served: Vec<Served>) -> Result<(), ModelError> {
        let mut models: Vec<Model> = Vec::with_capacity(served.len());
        for one in served {
            if models.iter().any(|model| model.name == one.name) {
                return Err(ModelError::Ambiguous(one.name));
            }
            models.push(Model::start(one, self.config.limits.queue, &self.metrics)?);
        }
        self.models.set(models).expect("models are loaded once");
        Ok(())
    }

    /// The models, the default first; none before they are loaded.
    pub(crate) fn models(&self) -> &[Model] {
        self.models.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_to_stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// The number of the next request.
    pub(crate) fn next_request(&self) -> u64 {
        self.num_requests.fetch_add(1, Ordering::Relaxed)
    }
}
