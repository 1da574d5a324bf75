//! The bounded queue in front of a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use uner_infer::{Job, JobInput, Outcome};

/// The end of a queue where requests put their jobs.
#[derive(Debug)]
pub(crate) struct Queue {
    jobs: Sender<Item>,
    room: Arc<Semaphore>,
    limit: usize,
    pub(crate) pace: Arc<Pace>,
}

/// A job in the queue, and where its outcome goes. It takes its place until it is answered.
pub(crate) struct Item {
    pub(crate) job: Job,
    pub(crate) reply: Reply,
}

/// Where the outcome of a job goes.
pub(crate) struct Reply {
    pub(crate) outcome: oneshot::Sender<Outcome>,
    _place: OwnedSemaphorePermit,
}

/// How fast jobs are answered.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    busy_micros: AtomicU64,
    answered: AtomicU64,
}

/// The jobs of a request. They are cancelled when it is dropped: when the request is answered, or
/// when its client has gone away.
#[derive(Debug)]
pub(crate) struct Pending {
    outcomes: std::vec::IntoIter<oneshot::Receiver<Outcome>>,
    cancelled: Arc<AtomicBool>,
}

/// Why jobs are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// More than ever fit.
    TooMany {
        /// What fits.
        limit: usize,
    },
    /// Try again after this time.
    Now(Duration),
}

impl Queue {
    /// A queue for `limit` jobs, and the end from which a worker takes them.
    pub(crate) fn new(limit: usize) -> (Self, Receiver<Item>) {
        let (jobs, items) = channel();
        (Self { jobs, room: Arc::new(Semaphore::new(limit)), limit, pace: Arc::default() }, items)
    }

    /// Puts all jobs of a request into the queue, or none. `None` if the worker has ended.
    pub(crate) fn push(&self, inputs: Vec<JobInput>) -> Result<Option<Pending>, Full> {
        if inputs.len() > self.limit {
            return Err(Full::TooMany { limit: self.limit });
        }
        let room = Arc::clone(&self.room).try_acquire_many_owned(inputs.len() as u32);
        let Ok(mut places) = room else { return Err(Full::Now(self.pace.time_for(self.len()))) };
        let cancelled = Arc::new(AtomicBool::new(false));
        let mut outcomes = Vec::with_capacity(inputs.len());
        for input in inputs {
            let place = places.split(1).expect("a place for each job");
            let (outcome, receiver) = oneshot::channel();
            outcomes.push(receiver);
            let job = Job { input, cancelled: Some(Arc::clone(&cancelled)) };
            if self.jobs.send(Item { job, reply: Reply { outcome, _place: place } }).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(Pending { outcomes: outcomes.into_iter(), cancelled }))
    }

    /// Jobs that are accepted and not answered.
    pub(crate) fn len(&self) -> usize {
        self.limit - self.room.available_permits()
    }

    /// Most of them.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}

impl Pending {
    /// The outcome of the next job, in the order of the request. `None` after the last one, and if
    /// the worker failed.
    pub(crate) async fn next(&mut self) -> Option<Outcome> {
        self.outcomes.next()?.await.ok()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Pace {
    /// Counts answered jobs, and the time in which the engine ran.
    pub(crate) fn add(&self, busy: Duration, answered: usize) {
        self.busy_micros.fetch_add(busy.as_micros() as u64, Ordering::Relaxed);
        self.answered.fetch_add(answered as u64, Ordering::Relaxed);
    }

    /// The time in which so many jobs are answered, from 1 to 60 seconds.
    fn time_for(&self, jobs: usize) -> Duration {
        let answered = self.answered.load(Ordering::Relaxed).max(1) as f64;
        let each = self.busy_micros.load(Ordering::Relaxed) as f64 / answered / 1e6;
        Duration::from_secs_f64((each * jobs as f64).ceil().clamp(1.0, 60.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(count: usize) -> Vec<JobInput> {
        let request = uner_infer::Request { id: String::new(), text: "a".into(), types: vec![] };
        (0..count).map(|_| JobInput::Document(request.clone())).collect()
    }

    #[test]
    fn a_request_has_all_of_its_places_or_none() {
        let (queue, items) = Queue::new(4);
        let first = queue.push(inputs(3)).unwrap().unwrap();
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.push(inputs(2)).unwrap_err(), Full::Now(Duration::from_secs(1)));
        assert_eq!(queue.push(inputs(5)).unwrap_err(), Full::TooMany { limit: 4 });
        assert_eq!(queue.len(), 3, "a refused request takes no place");
        let item = items.recv().unwrap();
        assert!(!item.job.cancelled.unwrap().load(Ordering::Relaxed));
        drop(first);
        let item = items.recv().unwrap();
        assert!(item.job.cancelled.unwrap().load(Ordering::Relaxed));
        drop(item.reply);
        assert_eq!(queue.len(), 2, "answered jobs have left");
    }

    #[test]
    fn the_wait_follows_the_pace() {
        let pace = Pace::default();
        pace.add(Duration::from_secs(10), 5);
        assert_eq!(pace.time_for(4), Duration::from_secs(8));
        assert_eq!(pace.time_for(0), Duration::from_secs(1));
        assert_eq!(pace.time_for(1000), Duration::from_mins(1));
    }
}
