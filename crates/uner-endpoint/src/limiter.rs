//! Limits of requests and tokens per minute.
//!
//! Each limit is a bucket that fills steadily and holds what flows in within a second, so that the
//! endpoint sees an even stream and not a burst each minute. A request may start if no bucket is
//! empty; it then takes its estimated tokens, and the bucket may fall below zero, so that a request
//! of any size passes at last. When the endpoint reports the tokens, the difference is put back or
//! taken.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stop::Stop;

/// The limits of an endpoint, shared by all threads.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Buckets>);

#[derive(Debug)]
struct Buckets {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    /// When the buckets were last filled.
    filled: Instant,
    /// No request starts before.
    paused_until: Instant,
}

#[derive(Debug)]
struct Bucket {
    level: f64,
    capacity: f64,
    per_second: f64,
}

impl Bucket {
    fn new(per_minute: u32) -> Self {
        let per_second = f64::from(per_minute) / 60.0;
        let capacity = per_second.max(1.0);
        Self { level: capacity, capacity, per_second }
    }

    fn fill(&mut self, seconds: f64) {
        self.level = (self.level + seconds * self.per_second).min(self.capacity);
    }

    /// Seconds until the level reaches `least`.
    fn seconds_to(&self, least: f64) -> f64 {
        ((least - self.level) / self.per_second).max(0.0)
    }
}

impl Buckets {
    /// Takes a request with its tokens, or returns how long to wait.
    fn take(&mut self, tokens: f64, now: Instant) -> Result<(), Duration> {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        let mut wait = self.paused_until.saturating_duration_since(now).as_secs_f64();
        for bucket in [&mut self.requests, &mut self.tokens].into_iter().flatten() {
            bucket.fill(seconds);
            // A level that misses 1 by rounding only would wait for ever.
            wait = wait.max(bucket.seconds_to(1.0 - 1e-9));
        }
        if wait > 0.0 {
            return Err(Duration::from_secs_f64(wait).max(Duration::from_millis(1)));
        }
        if let Some(requests) = &mut self.requests {
            requests.level -= 1.0;
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.level -= tokens;
        }
        Ok(())
    }
}

impl Limiter {
    pub(crate) fn new(requests_per_minute: Option<u32>, tokens_per_minute: Option<u32>) -> Self {
        let now = Instant::now();
        Self(Mutex::new(Buckets {
            requests: requests_per_minute.map(Bucket::new),
            tokens: tokens_per_minute.map(Bucket::new),
            filled: now,
            paused_until: now,
        }))
    }

    /// Waits until a request with this many tokens may start. Returns whether it may: not if the
    /// run was stopped.
    pub(crate) fn acquire(&self, tokens: u64, stop: &Stop) -> bool {
        loop {
            if stop.is_set() {
                return false;
            }
            let taken = self.buckets().take(tokens as f64, Instant::now());
            let Err(wait) = taken else { return true };
            if stop.wait(wait) {
                return false;
            }
        }
    }

    /// Replaces the estimated tokens of a request by the counted ones.
    pub(crate) fn correct(&self, estimated: u64, counted: u64) {
        if let Some(bucket) = &mut self.buckets().tokens {
            bucket.level = (bucket.level + estimated as f64 - counted as f64).min(bucket.capacity);
        }
    }

    /// Lets no request start for a while.
    pub(crate) fn pause(&self, duration: Duration) {
        let mut buckets = self.buckets();
        buckets.paused_until = buckets.paused_until.max(Instant::now() + duration);
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times at which requests of these tokens start, in seconds, if each waits as long as it
    /// has to.
    fn starts(limiter: &Limiter, tokens: &[u64]) -> Vec<f64> {
        let first = limiter.buckets().filled;
        let mut now = first;
        let mut times = Vec::new();
        for tokens in tokens {
            while let Err(wait) = limiter.buckets().take(*tokens as f64, now) {
                now += wait;
            }
            times.push((now - first).as_secs_f64());
        }
        times
    }

    fn assert_near(times: &[f64], expected: &[f64]) {
        assert_eq!(times.len(), expected.len());
        let is_near = |(time, expected): (&f64, &f64)| (time - expected).abs() < 0.01;
        assert!(times.iter().zip(expected).all(is_near), "{times:?}");
    }

    #[test]
    fn requests_come_evenly() {
        assert_near(&starts(&Limiter::new(Some(120), None), &[0; 5]), &[0.0, 0.0, 0.5, 1.0, 1.5]);
        assert_near(&starts(&Limiter::new(Some(30), None), &[0; 3]), &[0.0, 2.0, 4.0]);
        assert_near(&starts(&Limiter::new(None, None), &[9; 3]), &[0.0; 3]);
    }

    #[test]
    fn a_large_request_delays_those_behind_it() {
        // 10 tokens a second; 35 tokens leave −25, and 1 is needed.
        let times = starts(&Limiter::new(None, Some(600)), &[35, 1, 1]);
        assert_near(&times, &[0.0, 2.6, 2.6 + 0.1]);
    }

    #[test]
    fn counted_tokens_replace_estimates() {
        let limiter = Limiter::new(None, Some(600));
        assert!(limiter.acquire(110, &Stop::default()));
        limiter.correct(110, 20);
        assert_near(&starts(&limiter, &[1]), &[1.1]);
        limiter.correct(0, 100_000);
        limiter.correct(200_000, 0);
        let capacity = limiter.buckets().tokens.as_ref().unwrap().capacity;
        assert_eq!(limiter.buckets().tokens.as_ref().unwrap().level, capacity);
    }

    #[test]
    fn a_stopped_run_starts_nothing() {
        let (limiter, stop) = (Limiter::new(Some(1), None), Stop::default());
        assert!(limiter.acquire(0, &stop));
        limiter.pause(Duration::from_secs(100));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| limiter.acquire(0, &stop));
            stop.set();
            assert!(!waiting.join().unwrap());
        });
    }
}
