//! A run: many requests, several at a time.
//!
//! The calling thread takes requests, looks them up in the journal and reports; threads beside it
//! send. So neither the requests nor the callback need to be shared between threads.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::answer::{Answer, Tokens};
use crate::attempts::{Attempted, attempt};
use crate::client::Client;
use crate::error::{EndpointError, Failure, Problem};
use crate::request::{Key, Prepared, Request};
use crate::stop::{Stop, StopAtEnd};
use crate::usage::Usage;

/// Longest time between two reports of progress.
const TICK: Duration = Duration::from_millis(250);

/// What a run reports.
#[derive(Debug)]
pub enum Event<'a> {
    /// A request is answered, or has failed for good.
    Answered {
        /// The position of the request, from 0.
        index: usize,
        /// The answer, or why there is none.
        outcome: Result<Answer, Failure>,
    },
    /// Several times a second, also while nothing is answered, and at the end.
    Progress {
        /// The counts so far.
        usage: &'a Usage,
        /// Requests that were sent, or wait to be sent again.
        in_flight: usize,
    },
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Counts of the run.
    pub usage: Usage,
    /// Why the run ended.
    pub end: End,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every request is answered or has failed.
    Complete,
    /// The callback ended it.
    Interrupted,
    /// `budget` or `max_total_tokens` has no room for the next request. Requests that are in the
    /// journal were still reported; [`Usage::unsent`] counts the others.
    BudgetReached,
}

impl Client {
    /// Sends requests, at most `concurrency` at a time, and reports every answer once, in the order
    /// in which answers come. An answer is in the journal before it is reported; one that is there
    /// already is not sent again. Equal requests are sent once.
    ///
    /// If `on_event` returns [`ControlFlow::Break`], nothing more is sent or reported. The run then
    /// ends as soon as the requests in flight, which are paid for, are answered and in the journal.
    ///
    /// # Errors
    /// [`EndpointError::Denied`] and [`EndpointError::Unreachable`] if the endpoint does not work,
    /// or if the journal cannot be read or written. Answers until then are in the journal.
    /// A request without an answer is not an error.
    pub fn complete_all(
        &self,
        requests: impl IntoIterator<Item = Request>,
        on_event: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Summary, EndpointError> {
        let (stop, retries) = (Stop::default(), AtomicU64::new(0));
        let (jobs, queue) = channel();
        let (done, finished) = channel();
        let queue = Mutex::new(queue);
        let summary = std::thread::scope(|scope| {
            for _ in 0..self.endpoint.concurrency {
                let done = done.clone();
                let (queue, stop, retries) = (&queue, &stop, &retries);
                scope.spawn(move || work(self, queue, &done, stop, retries));
            }
            drop(done);
            // If `on_event` panics, no thread waits or sends any longer.
            let _stop = StopAtEnd(&stop);
            let run = Run {
                client: self,
                stop: &stop,
                retries: &retries,
                jobs,
                finished,
                sent: HashMap::new(),
                expected: Tokens::default(),
                on_event,
                usage: Usage::default(),
                failures: 0,
                progress: Instant::now(),
                end: End::Complete,
                error: None,
            };
            run.drive(&mut requests.into_iter().enumerate())
        });
        self.sync()?;
        summary
    }
}

/// Sends requests until the queue ends.
fn work(
    client: &Client,
    queue: &Mutex<Receiver<Prepared>>,
    done: &Sender<(Key, Attempted)>,
    stop: &Stop,
    retries: &AtomicU64,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(prepared) = next else { return };
        // Without this, the run would wait for ever for a request whose thread is gone.
        let attempted =
            catch_unwind(AssertUnwindSafe(|| attempt(client, &prepared, stop, retries)))
                .unwrap_or_else(Attempted::Panicked);
        if done.send((prepared.key, attempted)).is_err() {
            return;
        }
    }
}

/// A request in flight.
struct Sent {
    /// Positions of the request and of its repetitions.
    indices: Vec<usize>,
    /// Expected tokens, until they are counted.
    expected: Tokens,
}

struct Run<'a, F> {
    client: &'a Client,
    stop: &'a Stop,
    retries: &'a AtomicU64,
    jobs: Sender<Prepared>,
    finished: Receiver<(Key, Attempted)>,
    sent: HashMap<Key, Sent>,
    /// Expected tokens of all requests in flight.
    expected: Tokens,
    on_event: F,
    usage: Usage,
    /// Failures in succession.
    failures: usize,
    /// When progress was last reported.
    progress: Instant,
    end: End,
    error: Option<EndpointError>,
}

impl<F: FnMut(Event<'_>) -> ControlFlow<()>> Run<'_, F> {
    fn drive(
        mut self,
        requests: &mut dyn Iterator<Item = (usize, Request)>,
    ) -> Result<Summary, EndpointError> {
        // A request that has to wait until those in flight are counted.
        let mut waiting = None;
        let mut is_exhausted = false;
        loop {
            while !self.is_stopped() && self.has_room() && !is_exhausted {
                let next = waiting.take().or_else(|| {
                    let (index, request) = requests.next()?;
                    Some((index, self.client.prepare(&request)))
                });
                match next {
                    None => is_exhausted = true,
                    Some((index, prepared)) => waiting = self.start(index, prepared),
                }
                self.report_progress(TICK);
                if waiting.is_some() {
                    break;
                }
            }
            if self.sent.is_empty() && (is_exhausted || self.is_stopped()) {
                break;
            }
            self.receive();
        }
        self.report_progress(Duration::ZERO);
        match self.error {
            Some(error) => Err(error),
            None => Ok(Summary { usage: self.usage, end: self.end }),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    fn has_room(&self) -> bool {
        self.sent.len() < self.client.endpoint.concurrency
    }

    /// Answers a request from the journal or sends it. Returns it if it has to wait.
    fn start(&mut self, index: usize, prepared: Prepared) -> Option<(usize, Prepared)> {
        if let Some(sent) = self.sent.get_mut(&prepared.key) {
            sent.indices.push(index);
            return None;
        }
        match self.client.cached(prepared.key) {
            Err(error) => self.fail(error),
            Ok(Some(answer)) => {
                self.usage.cached += 1;
                self.report(index, Ok(answer));
            }
            Ok(None) if self.end == End::BudgetReached => self.usage.unsent += 1,
            Ok(None) if self.client.affords(self.expected, &prepared) => {
                match self.client.make_room(self.sent.len() + 1) {
                    Ok(()) => self.send(index, prepared),
                    Err(error) => self.fail(error),
                }
            }
            Ok(None) if !self.sent.is_empty() => return Some((index, prepared)),
            Ok(None) => {
                self.end = End::BudgetReached;
                self.usage.unsent += 1;
            }
        }
        None
    }

    fn send(&mut self, index: usize, prepared: Prepared) {
        let expected = Tokens { input: prepared.input, output: prepared.output };
        self.expected.input += expected.input;
        self.expected.output += expected.output;
        self.sent.insert(prepared.key, Sent { indices: vec![index], expected });
        assert!(self.jobs.send(prepared).is_ok(), "the threads run as long as the queue");
    }

    /// Waits for the end of a request, but no longer than until progress is reported.
    fn receive(&mut self) {
        match self.finished.recv_timeout(TICK) {
            Ok((key, attempted)) => self.finish(key, attempted),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("threads run as long as the queue"),
        }
        self.report_progress(TICK);
    }

    fn finish(&mut self, key: Key, attempted: Attempted) {
        let sent = self.sent.remove(&key).expect("what ends was sent");
        self.expected.input -= sent.expected.input;
        self.expected.output -= sent.expected.output;
        match attempted {
            Attempted::Answered(answer, tokens) => {
                self.failures = 0;
                self.usage.add(&answer, tokens, self.client.endpoint.prices);
                self.usage.cached += sent.indices.len() as u64 - 1;
                for (repetition, index) in sent.indices.into_iter().enumerate() {
                    let answer = Answer { cached: repetition > 0, ..answer.clone() };
                    self.report(index, Ok(answer));
                }
            }
            Attempted::Failed(failure) => {
                self.usage.failed += sent.indices.len() as u64;
                for index in sent.indices {
                    self.report(index, Err(failure.clone()));
                }
                self.count_failure(failure);
            }
            Attempted::Unsent => self.usage.unsent += sent.indices.len() as u64,
            Attempted::Fatal(error) => self.fail(error),
            Attempted::Panicked(panic) => resume_unwind(panic),
        }
    }

    /// Ends the run after too many failures. A prompt that is too long says nothing about the
    /// endpoint.
    fn count_failure(&mut self, last: Failure) {
        if matches!(last.problem, Problem::ContextLength(_)) {
            self.failures = 0;
            return;
        }
        self.failures += 1;
        let endpoint = &self.client.endpoint;
        if self.failures >= endpoint.max_consecutive_failures {
            let (url, failures) = (endpoint.base().to_owned(), self.failures);
            self.fail(EndpointError::Unreachable { url, failures, last });
        }
    }

    fn fail(&mut self, error: EndpointError) {
        self.stop.set();
        // Later errors follow from the first.
        self.error.get_or_insert(error);
    }

    fn report(&mut self, index: usize, outcome: Result<Answer, Failure>) {
        if self.is_stopped() {
            return;
        }
        if (self.on_event)(Event::Answered { index, outcome }).is_break() {
            self.interrupt();
        }
    }

    fn report_progress(&mut self, interval: Duration) {
        if self.progress.elapsed() < interval {
            return;
        }
        self.progress = Instant::now();
        self.usage.retries = self.retries.load(Ordering::Relaxed);
        let event = Event::Progress { usage: &self.usage, in_flight: self.sent.len() };
        let is_over = self.is_stopped() || interval.is_zero();
        if (self.on_event)(event).is_break() && !is_over {
            self.interrupt();
        }
    }

    fn interrupt(&mut self) {
        self.end = End::Interrupted;
        self.stop.set();
    }
}
