//! The thread that runs the engine of a model.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::iter;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Instant, SystemTime};

use uner_infer::{Outcome, Predictor};
use uner_prompt::mission;

use crate::metrics::Metrics;
use crate::queue::{Item, Pace, Queue, Reply};

/// A model to serve.
#[derive(Debug)]
pub struct Served {
    /// The name that requests choose it by.
    pub name: String,
    /// The model.
    pub predictor: Predictor<'static>,
    /// The types that it was trained on, from frequent to rare; empty if unknown.
    pub entity_types: Vec<String>,
}

/// A model that is served.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    /// The types that it was trained on, from frequent to rare; empty if unknown.
    pub(crate) entity_types: Vec<String>,
    /// Seconds since 1970 at which it was loaded.
    pub(crate) created: u64,
    /// The system line of its template.
    pub(crate) system: String,
    pub(crate) queue: Queue,
    /// Whether the engine's last run did not panic.
    is_healthy: Arc<AtomicBool>,
}

/// A model that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It does not name entities.
    #[error("`{0}` names relations; only models that name entities are served")]
    Relations(String),
    /// Another model has its name.
    #[error("two models are named `{0}`; requests choose a model by its name")]
    Ambiguous(String),
}

impl Model {
    /// Starts the worker of a model. The thread ends when the model and all requests are dropped.
    pub(crate) fn start(
        served: Served,
        limit: usize,
        metrics: &Metrics,
    ) -> Result<Self, ModelError> {
        let Served { name, predictor, entity_types } = served;
        if mission::of(predictor.template()).arity() != 1 {
            return Err(ModelError::Relations(name));
        }
        let system = predictor.template().system.clone();
        let (queue, items) = Queue::new(limit);
        let is_healthy = Arc::new(AtomicBool::new(true));
        let worker = Worker {
            name: name.clone(),
            predictor,
            pace: Arc::clone(&queue.pace),
            is_healthy: Arc::clone(&is_healthy),
            metrics: metrics.clone(),
        };
        std::thread::spawn(move || worker.work(&items));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self { name, entity_types, created: now.as_secs(), system, queue, is_healthy })
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Relaxed)
    }
}

/// The parts of a worker's thread.
struct Worker {
    name: String,
    predictor: Predictor<'static>,
    pace: Arc<Pace>,
    is_healthy: Arc<AtomicBool>,
    metrics: Metrics,
}

impl Worker {
    /// Runs the engine whenever the queue has a job, until its other end is dropped.
    fn work(&self, items: &Receiver<Item>) {
        while let Ok(first) = items.recv() {
            // A panic ends the requests in work, whose replies are dropped, and not the others.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run(first, items)));
            self.is_healthy.store(outcome.is_ok(), Ordering::Relaxed);
            if outcome.is_err() {
                tracing::error!("model `{}`: the engine panicked", self.name);
            }
        }
    }

    /// Runs the engine until no job is left.
    fn run(&self, first: Item, items: &Receiver<Item>) {
        let replies: RefCell<HashMap<usize, Reply>> = RefCell::default();
        let (mut first, count) = (Some(first), Cell::new(0));
        let jobs = iter::from_fn(|| {
            let Item { job, reply } = first.take().or_else(|| items.try_recv().ok())?;
            replies.borrow_mut().insert(count.get(), reply);
            count.set(count.get() + 1);
            Some(job)
        });
        let since = Cell::new(Instant::now());
        let outcome = self.predictor.run_jobs(jobs, usize::MAX, |job, outcome| {
            self.pace.add(since.replace(Instant::now()).elapsed(), 1);
            self.count(&outcome);
            if let Some(Reply { outcome: receiver, .. }) = replies.borrow_mut().remove(&job) {
                // A request that has gone away does not receive it.
                let _ = receiver.send(outcome);
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = outcome {
            tracing::error!("model `{}`: {error}", self.name);
        }
    }

    fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Document(prediction, _) => {
                self.metrics.texts.inc();
                self.metrics.entities.inc_by(prediction.entities.len() as u64);
            }
            Outcome::Chat(Ok(completion)) => {
                self.metrics.prompt_tokens.inc_by(completion.prompt_tokens as u64);
                self.metrics.generated_tokens.inc_by(completion.tokens as u64);
            }
            Outcome::Chat(Err(_)) => {}
        }
    }
}
