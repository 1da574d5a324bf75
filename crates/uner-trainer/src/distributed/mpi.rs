//! Processes joined by MPI, started by `mpirun` or `srun`.
//!
//! An all-reduce of MPI may sum in any order. Here each process instead sums its part of the
//! elements, in the order of the processes (`MPI_Alltoallv`, then `MPI_Allgatherv`). The sums are
//! thus the same on every run, and the number of bytes is that of an all-reduce.

use std::sync::Mutex;

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root as _};

use super::Processes;

/// A started MPI; dropping it ends MPI. The thread that started it must keep it until every user of
/// MPI is dropped.
pub struct Session(Universe);

/// The processes that were started together.
pub struct Mpi {
    rank: usize,
    count: usize,
    local: (usize, usize),
    world: Mutex<World>,
}

struct World(SimpleCommunicator);

// SAFETY: a communicator is a handle that any thread may use. MPI was started so that several
// threads may call it, one at a time (`MPI_THREAD_SERIALIZED`), which the mutex around it ensures.
#[expect(unsafe_code, reason = "the handle is a pointer in some implementations")]
unsafe impl Send for World {}

impl Session {
    /// Starts MPI.
    ///
    /// # Errors
    /// When it was started before, or does not allow calls from several threads.
    pub fn start() -> Result<Self, String> {
        let (universe, threading) = mpi::initialize_with_threading(Threading::Serialized)
            .ok_or("MPI was started twice in one process")?;
        if threading < Threading::Serialized {
            return Err(format!(
                "this MPI library supports `{threading:?}` only; use one that supports \
                 `MPI_THREAD_SERIALIZED`"
            ));
        }
        Ok(Self(universe))
    }

    /// Connects all processes. Every process has to call.
    pub fn processes(&self) -> Mpi {
        let world = self.0.world();
        let local = world.split_shared(world.rank());
        let rank_and_size = |all: &SimpleCommunicator| (all.rank() as usize, all.size() as usize);
        let ((rank, count), local) = (rank_and_size(&world), rank_and_size(&local));
        Mpi { rank, count, local, world: Mutex::new(World(world)) }
    }

    /// The number of this process. Unlike [`Session::processes`], one process can call this alone.
    pub fn rank(&self) -> usize {
        self.0.world().rank() as usize
    }

    /// Ends all processes immediately.
    pub fn abort(&self, code: i32) -> ! {
        self.0.world().abort(code)
    }
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mpi")
            .field("rank", &self.rank)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Mpi {
    /// The start of each process's part, and the end of the last one.
    fn edges(&self, len: usize) -> Vec<usize> {
        (0..=self.count).map(|process| process * len / self.count).collect()
    }

    fn summed<T: Equivalence + Copy + Default + std::ops::AddAssign>(
        &self,
        values: &[T],
    ) -> Vec<T> {
        let edges = self.edges(values.len());
        let sizes: Vec<usize> = edges.windows(2).map(|edge| edge[1] - edge[0]).collect();
        let own = sizes[self.rank];
        let mut parts = vec![T::default(); own * self.count];
        let world = &self.world.lock().expect("no thread panicked inside MPI").0;
        let (counts, starts) =
            (ints(sizes.iter().copied()), ints(edges[..self.count].iter().copied()));
        let even =
            (ints(vec![own; self.count]), ints((0..self.count).map(|process| process * own)));
        world.all_to_all_varcount_into(
            &Partition::new(values, &counts[..], &starts[..]),
            &mut PartitionMut::new(&mut parts[..], &even.0[..], &even.1[..]),
        );
        let mut sum = parts[..own].to_vec();
        for part in parts.chunks_exact(own.max(1)).skip(1) {
            sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += *value);
        }
        let mut whole = vec![T::default(); values.len()];
        world.all_gather_varcount_into(
            &sum[..],
            &mut PartitionMut::new(&mut whole[..], &counts[..], &starts[..]),
        );
        whole
    }
}

impl Processes for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn on_this_machine(&self) -> (usize, usize) {
        self.local
    }

    fn all_reduce(&self, values: Vec<f32>) -> Vec<f32> {
        self.summed(&values)
    }

    fn all_reduce_scalars(&self, values: Vec<f64>) -> Vec<f64> {
        self.summed(&values)
    }

    fn all_gather(&self, part: Vec<f32>) -> Vec<f32> {
        let world = &self.world.lock().expect("no thread panicked inside MPI").0;
        let mut counts = vec![0i32; self.count];
        world.all_gather_into(&ints([part.len()])[..], &mut counts[..]);
        let starts: Vec<i32> = counts
            .iter()
            .scan(0, |end, count| {
                let start = *end;
                *end += count;
                Some(start)
            })
            .collect();
        let mut whole = vec![0.0; counts.iter().map(|count| *count as usize).sum()];
        world.all_gather_varcount_into(
            &part[..],
            &mut PartitionMut::new(&mut whole[..], &counts[..], &starts[..]),
        );
        whole
    }

    fn broadcast(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let world = &self.world.lock().expect("no thread panicked inside MPI").0;
        let mut length = bytes.len() as u64;
        let root = world.process_at_rank(0);
        root.broadcast_into(&mut length);
        bytes.resize(length as usize, 0);
        root.broadcast_into(&mut bytes[..]);
        bytes
    }
}

/// Counts in the type that MPI requires.
fn ints(values: impl IntoIterator<Item = usize>) -> Vec<i32> {
    let int = |value| i32::try_from(value).expect("a parameter has fewer than 2³¹ elements");
    values.into_iter().map(int).collect()
}
