//! Processes joined by MPI, started by `mpirun` or `srun`.
//!
//! MPI may add up in any order; here every process adds up its part of the elements in the order of
//! the processes (`MPI_Alltoallv`, then `MPI_Allgatherv`), so the sums are the same on every run,
//! for the same number of bytes.

use std::sync::Mutex;

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root as _};

use super::Processes;

/// MPI, from its start to its end. To be kept, by the thread that started it, until all that uses
/// it is gone.
pub struct Session(Universe);

/// The processes that were started together.
pub struct Mpi {
    rank: usize,
    count: usize,
    local: (usize, usize),
    world: Mutex<World>,
}

struct World(SimpleCommunicator);

// SAFETY: a communicator is a handle that any thread may use; MPI was asked to allow calls from
// several threads, one at a time (`MPI_THREAD_SERIALIZED`), which the mutex around it sees to.
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
                "this MPI library allows {threading:?} use only; one with MPI_THREAD_SERIALIZED is needed"
            ));
        }
        Ok(Self(universe))
    }

    /// All processes; every one has to ask.
    pub fn processes(&self) -> Mpi {
        let world = self.0.world();
        let local = world.split_shared(world.rank());
        let place = |all: &SimpleCommunicator| (all.rank() as usize, all.size() as usize);
        let ((rank, count), local) = (place(&world), place(&local));
        Mpi { rank, count, local, world: Mutex::new(World(world)) }
    }

    /// The number of this process. Unlike [`Session::processes`], one process can ask this by
    /// itself.
    pub fn rank(&self) -> usize {
        self.0.world().rank() as usize
    }

    /// Ends every process at once.
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
    /// Where the part of each process starts, and where the last one ends.
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

    fn sum(&self, values: Vec<f32>) -> Vec<f32> {
        self.summed(&values)
    }

    fn total(&self, values: Vec<f64>) -> Vec<f64> {
        self.summed(&values)
    }

    fn gather(&self, part: Vec<f32>) -> Vec<f32> {
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

/// Counts as MPI takes them.
fn ints(values: impl IntoIterator<Item = usize>) -> Vec<i32> {
    let int = |value| i32::try_from(value).expect("a parameter has fewer than 2³¹ elements");
    values.into_iter().map(int).collect()
}
