//! Rendezvous of the ranks of a process: each passes its part, the last to arrive combines the
//! parts, and all receive the result.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::TrainError;

/// A reusable rendezvous: the same ranks arrive in every round.
#[derive(Debug)]
pub(super) struct Rendezvous<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Parts by local rank; `None` until the rank arrives.
    parts: Vec<Option<Vec<T>>>,
    /// Number of completed rounds.
    ended: u64,
    /// Result of the last round. It stays until all ranks have arrived in the next round, so no
    /// rank can miss it.
    result: Arc<Vec<T>>,
    /// The first rank that failed, and why.
    failure: Option<(usize, String)>,
}

impl<T: Send> Rendezvous<T> {
    /// A rendezvous of `local_world_size` ranks.
    pub(super) fn new(local_world_size: usize) -> Self {
        let parts = (0..local_world_size).map(|_| None).collect();
        let state = State { parts, ended: 0, result: Arc::new(Vec::new()), failure: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits until all ranks have arrived and returns the result of `combine`, which the last of
    /// them applies to the parts in the order of the local ranks.
    ///
    /// # Errors
    /// When a rank has failed.
    pub(super) fn meet(
        &self,
        local_rank: usize,
        part: Vec<T>,
        combine: impl FnOnce(Vec<Vec<T>>) -> Vec<T>,
    ) -> Result<Arc<Vec<T>>, TrainError> {
        let mut state = self.lock();
        let round = state.ended;
        assert!(state.parts[local_rank].is_none(), "local rank {local_rank} arrived twice");
        state.parts[local_rank] = Some(part);
        if state.parts.iter().all(Option::is_some) && state.failure.is_none() {
            let parts = state.parts.iter_mut().filter_map(Option::take).collect();
            // The other ranks wait for this result anyway, so the lock may stay locked.
            state.result = Arc::new(combine(parts));
            state.ended += 1;
            self.changed.notify_all();
        }
        while state.ended == round {
            if let Some((rank, problem)) = &state.failure {
                return Err(TrainError::Rank { rank: *rank, problem: problem.clone() });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(Arc::clone(&state.result))
    }

    /// Ranks that wait now or arrive later get the error that `rank` has failed; the first failure
    /// counts.
    pub(super) fn fail(&self, rank: usize, problem: &str) {
        self.lock().failure.get_or_insert((rank, problem.to_owned()));
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A rank that panics in `combine` also calls `fail`, so a poisoned lock needs no handling.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_gets_the_combined_parts_in_the_order_of_ranks() {
        let rendezvous = Rendezvous::new(3);
        std::thread::scope(|scope| {
            for local_rank in 0..3usize {
                let rendezvous = &rendezvous;
                scope.spawn(move || {
                    for round in 0..200 {
                        let got = rendezvous
                            .meet(local_rank, vec![local_rank * round], |parts| parts.concat())
                            .unwrap();
                        assert_eq!(*got, [0, round, 2 * round]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_failure_reaches_those_who_wait_and_those_who_come_later() {
        let rendezvous = Rendezvous::<f32>::new(2);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| rendezvous.meet(0, vec![1.0], |parts| parts.concat()));
            rendezvous.fail(1, "the disk is full");
            rendezvous.fail(0, "rank 1 failed");
            let error = waiting.join().unwrap().unwrap_err().to_string();
            assert!(error.contains("rank 1") && error.contains("the disk is full"), "{error}");
        });
        assert!(rendezvous.meet(1, vec![1.0], |parts| parts.concat()).is_err());
    }
}
