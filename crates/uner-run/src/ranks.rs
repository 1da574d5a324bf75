//! The ranks of a run: its processes, and a thread for each device of this process.

use std::fmt;

use anyhow::Result;
use uner_kernels::device::{DeviceName, have_nccl};
use uner_plan::machine::Devices;
use uner_trainer::distributed::{Collective, Processes, nccl};
use uner_trainer::{Group, TrainError};

/// Environment variables with the number of processes that `mpirun` or `srun` started. (Not
/// `SLURM_NTASKS`, which a batch script has as well, although it is a single process.)
const COUNTS: [&str; 4] =
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"];

/// All processes of a run.
pub(crate) struct World {
    #[cfg(feature = "mpi")]
    session: Option<uner_trainer::distributed::Session>,
}

impl fmt::Debug for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("World").finish_non_exhaustive()
    }
}

/// The ranks of this process.
pub(crate) struct Ranks {
    pub(crate) own: Vec<Rank>,
    /// Number of ranks of all processes on this machine.
    pub(crate) here: usize,
}

impl World {
    /// Joins the other processes if this one was started as one of several.
    pub(crate) fn join() -> Result<Self> {
        let count = |name| std::env::var(name).ok()?.parse::<usize>().ok();
        let started = COUNTS.into_iter().find_map(count).unwrap_or(1);
        #[cfg(feature = "mpi")]
        {
            let session =
                if started > 1 { Some(uner_trainer::distributed::Session::start()) } else { None };
            Ok(Self { session: session.transpose().map_err(anyhow::Error::msg)? })
        }
        #[cfg(not(feature = "mpi"))]
        {
            anyhow::ensure!(
                started == 1,
                "this is one of {started} processes, but the program was built without MPI: each would train on its own. Build \
                 it with `--features mpi`, or start one process and name its devices in `run.device`"
            );
            Ok(Self {})
        }
    }

    #[cfg(feature = "mpi")]
    fn processes(&self) -> Option<Box<dyn Processes>> {
        let session = self.session.as_ref()?;
        Some(Box::new(session.processes()))
    }

    #[cfg(not(feature = "mpi"))]
    #[expect(clippy::unused_self, reason = "as with MPI")]
    fn processes(&self) -> Option<Box<dyn Processes>> {
        None
    }

    /// The ranks of this process with their devices.
    pub(crate) fn ranks(&self, devices: &Devices) -> Result<Ranks> {
        let processes = self.processes();
        let (index, count) = processes.as_ref().map_or((0, 1), |all| all.on_this_machine());
        let names = devices.of_process(index, count).map_err(anyhow::Error::msg)?;
        let here = count * names.len();
        let groups = Group::with_collective(names.len(), link(&names)?, processes).into_iter();
        Ok(Ranks {
            own: groups.zip(names).map(|(group, device)| Rank { group, device }).collect(),
            here,
        })
    }

    /// If there are other processes, logs the error and ends all: none of them would end by itself.
    #[cfg(feature = "mpi")]
    pub(crate) fn give_up(&self, error: &anyhow::Error) {
        if let Some(session) = &self.session {
            tracing::error!("error: process {}: {error:#}", session.rank());
            session.abort(1);
        }
    }

    /// Does nothing: there are no other processes.
    #[cfg(not(feature = "mpi"))]
    #[expect(clippy::unused_self, reason = "as with MPI")]
    pub(crate) fn give_up(&self, _error: &anyhow::Error) {}
}

/// The collective between the devices of this process; `None` if they communicate through the host.
fn link(names: &[DeviceName]) -> Result<Option<Box<dyn Collective>>> {
    if names.len() == 1 || names.iter().all(|name| name.is_host()) {
        return Ok(None);
    }
    if !have_nccl(names) {
        tracing::warn!(
            "all-reduce between the devices goes through host memory, which is slow: NCCL needs different CUDA devices and `libnccl.so.2`"
        );
        return Ok(None);
    }
    nccl(names).map(Some).map_err(anyhow::Error::msg)
}

/// A rank of this process.
pub(crate) struct Rank {
    pub(crate) group: Group,
    pub(crate) device: DeviceName,
}

/// Runs `work` for each rank on its own thread, for the first rank on this one. Returns the result
/// of the first rank.
///
/// # Errors
/// If ranks fail: the error of the rank that caused the failure, with its number.
pub(crate) fn together<T: Send>(
    ranks: &[Rank],
    work: impl Fn(&Rank) -> Result<T> + Sync,
) -> Result<T> {
    let work = |rank: &Rank| {
        let result = rank.group.guarded(|| work(rank));
        let name = || format!("rank {}", rank.group.rank());
        if rank.group.is_single() { result } else { result.map_err(|error| error.context(name())) }
    };
    let (first, others) = ranks.split_first().expect("a process has a rank");
    std::thread::scope(|scope| {
        let others: Vec<_> = others.iter().map(|rank| scope.spawn(|| work(rank))).collect();
        let mut results = vec![work(first)];
        results.extend(others.into_iter().map(|other| {
            other
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a rank panicked; its message is above")))
        }));
        let own = |result: &Result<T>| {
            let told = |error: &anyhow::Error| {
                matches!(error.downcast_ref(), Some(TrainError::Rank { .. }))
            };
            result.as_ref().is_err_and(|error| !told(error))
        };
        let cause = results.iter().position(own).unwrap_or(0);
        results.swap_remove(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(count: usize) -> Vec<Rank> {
        let groups = Group::of_process(count, None).into_iter();
        groups.map(|group| Rank { group, device: DeviceName::Flex }).collect()
    }

    #[test]
    fn the_cause_is_told_not_what_followed_from_it() {
        let work = |rank: &Rank| {
            anyhow::ensure!(rank.group.rank() != 2, "the device is gone");
            Ok(rank.group.all_reduce_scalars([1.0])?)
        };
        let error = together(&ranks(3), work).unwrap_err();
        assert_eq!(format!("{error:#}"), "rank 2: the device is gone");
        assert_eq!(together(&ranks(2), work).unwrap(), [2.0]);
    }
}
