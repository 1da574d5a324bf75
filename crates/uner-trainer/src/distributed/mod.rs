//! The ranks of a run. Each has its own device and thread. A process may have several ranks, and
//! MPI connects processes (feature `mpi`). The host computes sums in the order of the ranks, so
//! they are the same on every run and every rank. If a [`Collective`] connects the devices of a
//! process, they compute the sums.
//!
//! The optimizer's state is sharded (`ZeRO` stage 1, Rajbhandari et al. 2020): a rank owns a
//! [`Shard`] of every parameter. A reduce-scatter sums the gradients of a shard on its owner, which
//! updates the shard; an all-gather then sends the new values to all ranks. Together they move as
//! many bytes as an all-reduce of the gradients. A collective overlaps both with computation.
//! `ZeRO` stage 3 also shards the parameters and gradients of the blocks
//! ([`RankModel`](crate::RankModel)); [`Sharding`](crate::Sharding) says which stage a run uses.

#[cfg(feature = "mpi")]
mod mpi;
mod rendezvous;
mod shard;

#[cfg(feature = "mpi")]
pub use mpi::{Mpi, Session};
pub use shard::{GRANULE, Shard};
pub use uner_kernels::link::{Collective, Cut, Pending};
pub use uner_kernels::nccl::nccl;

use std::sync::Arc;

use burn::tensor::{DType, Tensor, TensorData};

use crate::error::TrainError;
use rendezvous::Rendezvous;

/// The processes of a run, from the view of one of them.
pub trait Processes: Send + Sync + std::fmt::Debug {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;
    /// The number of processes.
    fn count(&self) -> usize;
    /// The number of this process among the processes on the same machine, and their count.
    fn on_this_machine(&self) -> (usize, usize);
    /// The element-wise sum over all processes, in their order; bitwise the same on each.
    fn all_reduce(&self, values: Vec<f32>) -> Vec<f32>;
    /// As [`Processes::all_reduce`], for a few numbers in double precision.
    fn all_reduce_scalars(&self, values: Vec<f64>) -> Vec<f64>;
    /// The parts of all processes, concatenated in their order.
    fn all_gather(&self, part: Vec<f32>) -> Vec<f32>;
    /// The bytes of process 0.
    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8>;
}

/// One rank among all.
#[derive(Debug)]
pub struct Group {
    rank: usize,
    world_size: usize,
    /// `None` for a single rank, whose collectives return their input.
    member: Option<Member>,
}

/// A rank's view of the ranks of its process.
#[derive(Debug)]
struct Member {
    local_rank: usize,
    local_ranks: Arc<LocalRanks>,
}

/// The ranks of one process.
#[derive(Debug)]
struct LocalRanks {
    local_world_size: usize,
    values: Rendezvous<f32>,
    totals: Rendezvous<f64>,
    bytes: Rendezvous<u8>,
    link: Option<Box<dyn Collective>>,
    processes: Option<Box<dyn Processes>>,
}

impl Group {
    /// The only rank of a run.
    pub fn single() -> Self {
        Self { rank: 0, world_size: 1, member: None }
    }

    /// The ranks of this process, one for each of its `devices`. Ranks are numbered in the order of
    /// their processes.
    ///
    /// # Panics
    /// When `devices` is 0.
    pub fn of_process(devices: usize, processes: Option<Box<dyn Processes>>) -> Vec<Self> {
        Self::with_collective(devices, None, processes)
    }

    /// As [`Group::of_process`], for devices that `link` connects. A single device uses it, too.
    ///
    /// # Panics
    /// When `devices` is 0.
    pub fn with_collective(
        devices: usize,
        link: Option<Box<dyn Collective>>,
        processes: Option<Box<dyn Processes>>,
    ) -> Vec<Self> {
        assert!(devices > 0, "a process needs a device");
        let (process, count) = processes.as_ref().map_or((0, 1), |all| (all.rank(), all.count()));
        let world_size = devices * count;
        if world_size == 1 && link.is_none() {
            return vec![Self::single()];
        }
        let (values, totals) = (Rendezvous::new(devices), Rendezvous::new(devices));
        let bytes = Rendezvous::new(devices);
        let local_ranks = Arc::new(LocalRanks {
            local_world_size: devices,
            values,
            totals,
            bytes,
            link,
            processes,
        });
        let member = |local_rank| Member { local_rank, local_ranks: Arc::clone(&local_ranks) };
        (0..devices)
            .map(|local_rank| Self {
                rank: process * devices + local_rank,
                world_size,
                member: Some(member(local_rank)),
            })
            .collect()
    }

    /// The number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of ranks.
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    /// Whether this is rank 0, which writes files and shows progress.
    pub fn is_main(&self) -> bool {
        self.rank == 0
    }

    /// Whether this is the only rank, without a [`Collective`].
    pub fn is_single(&self) -> bool {
        self.member.is_none()
    }

    /// Whether collectives overlap with later computation.
    pub fn overlaps(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.link().is_some())
    }

    /// This rank's shard of a parameter with `count` elements.
    pub fn shard(&self, count: usize) -> Shard {
        Shard::new(count, self.rank, self.world_size)
    }

    /// Reduce-scatter of one gradient: see [`Group::start_reduce_scatter`].
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn reduce_scatter(&self, gradient: Tensor<1>) -> Result<Tensor<1>, TrainError> {
        Ok(self.start_reduce_scatter(vec![gradient])?.wait().remove(0))
    }

    /// Starts a reduce-scatter: sums each gradient, `[n]`, over all ranks and returns this rank's
    /// shard of the sum, in f32 unless the rank [is single](Self::is_single). Every rank has to
    /// call, in the same order. Without [overlap](Self::overlaps) it is complete on return.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn start_reduce_scatter(&self, gradients: Vec<Tensor<1>>) -> Result<Pending, TrainError> {
        let Some(member) = &self.member else { return Ok(Pending::done(gradients)) };
        let local_ranks = &member.local_ranks;
        let Some(link) = &local_ranks.link else {
            let shard = |gradient| self.shard_of_sum(member, gradient, sum);
            return Ok(Pending::done(gradients.into_iter().map(shard).collect::<Result<_, _>>()?));
        };
        let cut = |gradient: Tensor<1>| {
            let edges = Shard::edges(gradient.dims()[0], local_ranks.local_world_size);
            Cut { values: gradient.cast(DType::F32), edges }
        };
        member.meet()?;
        let pending =
            link.reduce_scatter(member.local_rank, gradients.into_iter().map(cut).collect());
        if local_ranks.processes.is_none() {
            return Ok(pending);
        }
        // The parts of the process's ranks form its sum, which is then summed over processes.
        let shard = |part| self.shard_of_sum(member, part, |parts| parts.concat());
        Ok(Pending::done(pending.wait().into_iter().map(shard).collect::<Result<_, _>>()?))
    }

    /// Combines the parts of each process's ranks, sums the results over all processes, and returns
    /// this rank's shard of the sum.
    fn shard_of_sum(
        &self,
        member: &Member,
        part: Tensor<1>,
        combine: impl FnOnce(Vec<Vec<f32>>) -> Vec<f32>,
    ) -> Result<Tensor<1>, TrainError> {
        let device = part.device();
        let sum = member
            .meet_values(host(part), combine, |processes, values| processes.all_reduce(values))?;
        Ok(on_device(sum[self.shard(sum.len()).range()].to_vec(), DType::F32, &device))
    }

    /// All-gather of one parameter, `[count]`: see [`Group::start_all_gather`].
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn all_gather(&self, shard: Tensor<1>, count: usize) -> Result<Tensor<1>, TrainError> {
        Ok(self.start_all_gather(vec![(shard, count)])?.wait().remove(0))
    }

    /// Starts an all-gather: concatenates the ranks' shards of each vector, `[count]`, in its type.
    /// Every rank has to call, in the same order. Without [overlap](Self::overlaps) it is complete
    /// on return.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn start_all_gather(&self, shards: Vec<(Tensor<1>, usize)>) -> Result<Pending, TrainError> {
        let Some(member) = &self.member else {
            return Ok(Pending::done(shards.into_iter().map(|(shard, _)| shard).collect()));
        };
        let Some(link) = member.link() else {
            let whole = |(shard, _): (Tensor<1>, usize)| {
                let (device, dtype) = (shard.device(), shard.dtype());
                Ok(on_device(self.all_gather_values(host(shard))?.to_vec(), dtype, &device))
            };
            return Ok(Pending::done(
                shards.into_iter().map(whole).collect::<Result<_, TrainError>>()?,
            ));
        };
        let cut = |(values, count)| Cut { values, edges: Shard::edges(count, self.world_size) };
        member.meet()?;
        Ok(link.all_gather(member.local_rank, shards.into_iter().map(cut).collect()))
    }

    /// As [`Group::all_gather`], for values on the host.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn all_gather_values(&self, shard: Vec<f32>) -> Result<Arc<Vec<f32>>, TrainError> {
        let Some(member) = &self.member else { return Ok(Arc::new(shard)) };
        member.meet_values(
            shard,
            |parts| parts.concat(),
            |processes, part| processes.all_gather(part),
        )
    }

    /// All-reduce of a few numbers: their sums over all ranks.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn all_reduce_scalars<const N: usize>(
        &self,
        values: [f64; N],
    ) -> Result<[f64; N], TrainError> {
        let Some(member) = &self.member else { return Ok(values) };
        let local_ranks = &member.local_ranks;
        let total = local_ranks.totals.meet(member.local_rank, values.to_vec(), |parts| {
            let total = sum(parts);
            local_ranks
                .processes
                .as_ref()
                .map_or_else(|| total.clone(), |all| all.all_reduce_scalars(total.clone()))
        })?;
        Ok(std::array::from_fn(|index| total[index]))
    }

    /// Broadcast: returns the bytes of rank 0 on every rank, and ignores those of the others.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn broadcast(&self, bytes: Vec<u8>) -> Result<Arc<Vec<u8>>, TrainError> {
        let Some(Member { local_rank, local_ranks }) = &self.member else {
            return Ok(Arc::new(bytes));
        };
        local_ranks.bytes.meet(*local_rank, bytes, |mut parts| {
            let first = std::mem::take(&mut parts[0]);
            match &local_ranks.processes {
                None => first,
                Some(processes) => processes.broadcast(first),
            }
        })
    }

    /// All-reduce with logical or: for each answer, whether it is `true` on any rank.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn any<const N: usize>(&self, answers: [bool; N]) -> Result<[bool; N], TrainError> {
        Ok(self
            .all_reduce_scalars(answers.map(|answer| f64::from(u8::from(answer))))?
            .map(|count| count > 0.0))
    }

    /// Runs this rank's part of the run. If it fails or panics, the other ranks of this process get
    /// an error from their collectives.
    ///
    /// # Errors
    /// The errors of `work`.
    pub fn guarded<T, E: std::fmt::Display>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        struct Alarm<'a>(&'a Group, Option<String>);
        impl Drop for Alarm<'_> {
            fn drop(&mut self) {
                if let Some(problem) = &self.1 {
                    self.0.fail(problem);
                }
            }
        }
        let mut alarm = Alarm(self, Some("it panicked".to_owned()));
        let result = work();
        alarm.1 = result.as_ref().err().map(ToString::to_string);
        result
    }

    /// Reports to the other ranks of this process that this one has failed: a rank that waits for
    /// it, now or later, gets an error.
    fn fail(&self, problem: &str) {
        if let Some(Member { local_ranks, .. }) = &self.member {
            local_ranks.values.fail(self.rank, problem);
            local_ranks.totals.fail(self.rank, problem);
            local_ranks.bytes.fail(self.rank, problem);
            if let Some(link) = &local_ranks.link {
                link.abort();
            }
        }
    }
}

impl Member {
    /// The link, if it connects all ranks of the run.
    fn link(&self) -> Option<&dyn Collective> {
        let LocalRanks { link, processes, .. } = &*self.local_ranks;
        link.as_deref().filter(|_| processes.is_none())
    }

    /// Barrier of this process's ranks before they use the link, because a rank that waits for a
    /// device cannot receive another rank's failure.
    fn meet(&self) -> Result<(), TrainError> {
        self.local_ranks.totals.meet(self.local_rank, Vec::new(), |_| Vec::new()).map(|_| ())
    }

    fn meet_values(
        &self,
        part: Vec<f32>,
        combine: impl FnOnce(Vec<Vec<f32>>) -> Vec<f32>,
        across: impl FnOnce(&dyn Processes, Vec<f32>) -> Vec<f32>,
    ) -> Result<Arc<Vec<f32>>, TrainError> {
        let local_ranks = &self.local_ranks;
        local_ranks.values.meet(self.local_rank, part, |parts| {
            let combined = combine(parts);
            match &local_ranks.processes {
                None => combined,
                Some(processes) => across(&**processes, combined),
            }
        })
    }
}

/// The element-wise sum of equally long parts, in their order.
fn sum<T: Copy + std::ops::AddAssign>(parts: Vec<Vec<T>>) -> Vec<T> {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for part in parts {
        assert_eq!(sum.len(), part.len(), "ranks sum the same parameters");
        sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sum
}

fn host(values: Tensor<1>) -> Vec<f32> {
    values.try_into_vec_as().expect("floats that the device computed")
}

fn on_device(values: Vec<f32>, dtype: DType, device: &burn::tensor::Device) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), (device, dtype))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn every_rank_gets_the_bytes_of_rank_0() {
        assert_eq!(*Group::single().broadcast(vec![7]).unwrap(), [7]);
        std::thread::scope(|scope| {
            for group in Group::of_process(3, None) {
                scope.spawn(move || {
                    let own = vec![1 + group.rank() as u8; 1 + group.rank()];
                    assert_eq!(*group.broadcast(own).unwrap(), [1]);
                });
            }
        });
    }

    /// On a GPU parameters and gradients are bf16: sums are f32, gathered values keep their bits.
    #[test]
    fn short_types_are_summed_in_f32_and_gathered_as_they_are() {
        let device = Device::flex();
        let values: Vec<f32> = (0..2 * GRANULE + 7).map(|index| (index % 251) as f32).collect();
        std::thread::scope(|scope| {
            for group in Group::of_process(2, None) {
                let (device, values) = (&device, &values);
                scope.spawn(move || {
                    let gradient = on_device(values.clone(), DType::BF16, device);
                    let shard = group.shard(values.len());
                    let sum = group.reduce_scatter(gradient.clone()).unwrap();
                    assert_eq!((sum.dtype(), sum.dims()), (DType::F32, [shard.len]));
                    let twice: Vec<f32> =
                        values[shard.range()].iter().map(|value| 2.0 * value).collect();
                    assert_eq!(host(sum), twice);
                    let whole = group.all_gather(shard.of(gradient), values.len()).unwrap();
                    assert_eq!((whole.dtype(), host(whole)), (DType::BF16, values.clone()));
                });
            }
        });
    }
}
