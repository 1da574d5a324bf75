//! Where the ranks of a process meet: each brings its part, the last to come combines them, all get
//! the result.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::TrainError;

/// A place that the same ranks come to again and again, in the same order of meetings.
#[derive(Debug)]
pub(super) struct Meeting<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// By seat; `None` until its rank has come.
    parts: Vec<Option<Vec<T>>>,
    /// Meetings that have ended.
    ended: u64,
    /// Of the last one. It stays until all have come to the next one, so nobody can miss it.
    result: Arc<Vec<T>>,
    /// The rank that cannot come any more, and why.
    failure: Option<(usize, String)>,
}

impl<T: Send> Meeting<T> {
    /// A meeting of `seats` ranks.
    pub(super) fn new(seats: usize) -> Self {
        let parts = (0..seats).map(|_| None).collect();
        let state = State { parts, ended: 0, result: Arc::new(Vec::new()), failure: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for all others and returns what the last of them made of the parts, in the order of
    /// the seats.
    ///
    /// # Errors
    /// When a rank has failed.
    pub(super) fn meet(
        &self,
        seat: usize,
        part: Vec<T>,
        combine: impl FnOnce(Vec<Vec<T>>) -> Vec<T>,
    ) -> Result<Arc<Vec<T>>, TrainError> {
        let mut state = self.lock();
        let meeting = state.ended;
        assert!(state.parts[seat].is_none(), "seat {seat} is taken");
        state.parts[seat] = Some(part);
        if state.parts.iter().all(Option::is_some) && state.failure.is_none() {
            let parts = state.parts.iter_mut().filter_map(Option::take).collect();
            // The others wait for this in any case, so the lock may be held.
            state.result = Arc::new(combine(parts));
            state.ended += 1;
            self.changed.notify_all();
        }
        while state.ended == meeting {
            if let Some((rank, problem)) = &state.failure {
                return Err(TrainError::Rank { rank: *rank, problem: problem.clone() });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(Arc::clone(&state.result))
    }

    /// Everybody who waits now or comes later is told that `rank` has failed; the first failure
    /// counts.
    pub(super) fn fail(&self, rank: usize, problem: &str) {
        self.lock().failure.get_or_insert((rank, problem.to_owned()));
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A rank that panicked while it combined has also failed, which is told by `fail`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_the_combined_parts_in_the_order_of_seats() {
        let meeting = Meeting::new(3);
        std::thread::scope(|scope| {
            for seat in 0..3usize {
                let meeting = &meeting;
                scope.spawn(move || {
                    for round in 0..200 {
                        let got =
                            meeting.meet(seat, vec![seat * round], |parts| parts.concat()).unwrap();
                        assert_eq!(*got, [0, round, 2 * round]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_failure_reaches_those_who_wait_and_those_who_come_later() {
        let meeting = Meeting::<f32>::new(2);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| meeting.meet(0, vec![1.0], |parts| parts.concat()));
            meeting.fail(1, "the disk is full");
            meeting.fail(0, "rank 1 failed");
            let error = waiting.join().unwrap().unwrap_err().to_string();
            assert!(error.contains("rank 1") && error.contains("the disk is full"), "{error}");
        });
        assert!(meeting.meet(1, vec![1.0], |parts| parts.concat()).is_err());
    }
}
