//! The metrics of a server, for Prometheus.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the histogram of durations, in seconds.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The media type of the text.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of a server. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram, Durations>,
    rejected: Family<Reason, Counter>,
    queue_length: Gauge,
    queue_limit: Gauge,
    pub(crate) texts: Counter,
    pub(crate) entities: Counter,
    pub(crate) prompt_tokens: Counter,
    pub(crate) generated_tokens: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone)]
struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let (requests, rejected) = (Family::default(), Family::default());
        let durations = Family::new_with_constructor(Durations);
        let [queue_length, queue_limit, start] = [(); 3].map(|()| Gauge::default());
        let [texts, entities, prompt_tokens, generated_tokens] =
            [(); 4].map(|()| Counter::default());
        let mut all = Registry::default();
        all.register("process_start_time_seconds", "Start, since 1970", start.clone());
        let ours = all.sub_registry_with_prefix("uner");
        ours.register("requests", "Requests that were answered", Family::clone(&requests));
        ours.register(
            "request_duration_seconds",
            "Time from the headers of a request to those of its response",
            Family::clone(&durations),
        );
        ours.register("rejected", "Requests that were refused", Family::clone(&rejected));
        let length = "Texts and chats that are accepted and not answered";
        ours.register("queue_length", length, queue_length.clone());
        ours.register("queue_limit", "Most texts and chats in the queues", queue_limit.clone());
        ours.register("texts", "Texts that were searched", Counter::clone(&texts));
        ours.register("entities", "Entities that were found", Counter::clone(&entities));
        ours.register("prompt_tokens", "Tokens of chats", Counter::clone(&prompt_tokens));
        let generated = "Tokens of generated turns of chats";
        ours.register("generated_tokens", generated, Counter::clone(&generated_tokens));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        start.set(now.as_secs() as i64);
        Self {
            registry: Arc::new(all),
            requests,
            durations,
            rejected,
            queue_length,
            queue_limit,
            texts,
            entities,
            prompt_tokens,
            generated_tokens,
        }
    }

    /// Counts a request that was answered.
    pub(crate) fn add(&self, route: &'static str, status: u16, time: Duration) {
        self.requests.get_or_create(&Request { route, status }).inc();
        self.durations.get_or_create(&Route { route }).observe(time.as_secs_f64());
        let reason = match status {
            401 => "key",
            408 | 504 => "time",
            413 => "size",
            429 => "queue",
            503 => "unavailable",
            _ => return,
        };
        self.rejected.get_or_create(&Reason { reason }).inc();
    }

    /// The metrics as text, with the length of all queues and their limit.
    pub(crate) fn text(&self, queue_length: usize, queue_limit: usize) -> String {
        self.queue_length.set(queue_length as i64);
        self.queue_limit.set(queue_limit as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes any text");
        text
    }
}
