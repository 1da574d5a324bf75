//! Emulates NCCL's collectives between CPU devices, with NCCL's guarantees and no others.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use burn::tensor::Tensor;
use uner_trainer::distributed::{Collective, Cut, Pending};

/// A collective computes its result only when a rank waits for it, which takes some ranks longer
/// than others. Sums are computed in rank order. Calls that differ between ranks are an error; NCCL
/// would hang on them.
#[derive(Debug, Clone)]
pub(super) struct Emulated(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Local rank and number of a call that fails.
    failing: Option<(usize, usize)>,
}

#[derive(Debug)]
struct State {
    /// Number of calls of each rank.
    made: Vec<usize>,
    calls: BTreeMap<usize, Call>,
    aborted: bool,
}

#[derive(Debug)]
struct Call {
    kind: Kind,
    /// Edges of the shards, by vector.
    edges: Vec<Vec<usize>>,
    /// Each rank's input, by vector; `None` until the rank has called.
    parts: Vec<Option<Vec<Tensor<1>>>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    ReduceScatter,
    AllGather,
}

impl Emulated {
    pub(super) fn new(ranks: usize) -> Self {
        Self::failing(ranks, None)
    }

    /// Creates a link on which one call fails, given by local rank and number.
    pub(super) fn failing(ranks: usize, failing: Option<(usize, usize)>) -> Self {
        let state = State { made: vec![0; ranks], calls: BTreeMap::new(), aborted: false };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), failing }))
    }

    /// Number of calls of a rank.
    pub(super) fn made(&self, local_rank: usize) -> usize {
        self.0.lock().made[local_rank]
    }

    fn start(&self, local_rank: usize, kind: Kind, cuts: Vec<Cut>) -> Pending {
        let mut state = self.0.lock();
        let ranks = state.made.len();
        let number = state.made[local_rank];
        assert_ne!(self.0.failing, Some((local_rank, number)), "a call that fails");
        state.made[local_rank] += 1;
        let (edges, values): (Vec<_>, Vec<_>) =
            cuts.into_iter().map(|cut| (cut.edges, cut.values)).unzip();
        for (values, edges) in values.iter().zip(&edges) {
            let expected = match kind {
                Kind::ReduceScatter => edges[ranks],
                Kind::AllGather => edges[local_rank + 1] - edges[local_rank],
            };
            assert_eq!(values.dims()[0], expected, "{kind:?} of {edges:?} by rank {local_rank}");
        }
        let new = || Call { kind, edges: edges.clone(), parts: vec![None; ranks] };
        let call = state.calls.entry(number).or_insert_with(new);
        assert_eq!((call.kind, &call.edges), (kind, &edges), "ranks differ in call {number}");
        call.parts[local_rank] = Some(values);
        self.0.changed.notify_all();
        let shared = Arc::clone(&self.0);
        Pending::new(move || shared.result(local_rank, number))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn result(&self, local_rank: usize, number: usize) -> Vec<Tensor<1>> {
        std::thread::sleep(Duration::from_micros(
            (local_rank * 7919 + number * 104_729) as u64 % 500,
        ));
        let mut state = self.lock();
        while !state.aborted && state.calls[&number].parts.iter().any(Option::is_none) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let Call { kind, edges, parts } = &state.calls[&number];
        let parts: Vec<&Vec<Tensor<1>>> = parts.iter().flatten().collect();
        let of_all = |vector: usize| parts.iter().map(move |values| values[vector].clone());
        let results = edges.iter().enumerate().map(|(vector, edges)| match kind {
            Kind::ReduceScatter => {
                let sum = of_all(vector).reduce(Tensor::add).unwrap();
                slice(sum, edges[local_rank], edges[local_rank + 1])
            }
            Kind::AllGather => {
                let (filled, empty): (Vec<_>, Vec<_>) =
                    of_all(vector).partition(|part| part.dims()[0] > 0);
                if filled.is_empty() { empty[0].clone() } else { Tensor::cat(filled, 0) }
            }
        });
        results.collect()
    }
}

fn slice(values: Tensor<1>, start: usize, end: usize) -> Tensor<1> {
    if start == end {
        Tensor::zeros([0], (&values.device(), values.dtype()))
    } else {
        let own = start..end;
        values.slice([own])
    }
}

impl Collective for Emulated {
    fn reduce_scatter(&self, local_rank: usize, values: Vec<Cut>) -> Pending {
        self.start(local_rank, Kind::ReduceScatter, values)
    }

    fn all_gather(&self, local_rank: usize, parts: Vec<Cut>) -> Pending {
        self.start(local_rank, Kind::AllGather, parts)
    }

    fn abort(&self) {
        self.0.lock().aborted = true;
        self.0.changed.notify_all();
    }
}
