//! The ranks of a run. Each has a device and a thread of its own; some share a process, and
//! processes are joined by MPI (feature `mpi`). Sums are made on the host, rank after rank, so they
//! are the same on every run and on every rank; or, where a [`Link`] connects the devices of a
//! process, by these.
//!
//! State of the optimizer is never held twice: a rank owns a [`Share`] of every parameter (`ZeRO`
//! stage 1, Rajbhandari et al. 2020). Gradients are summed to the owner of each share, the owner
//! updates it, and the new values are gathered by all. This moves as many bytes as summing whole
//! gradients on every rank would. Over a link both run beside what is computed next.

#[cfg(feature = "mpi")]
mod mpi;
mod rendezvous;
mod shard;

#[cfg(feature = "mpi")]
pub use mpi::{Mpi, Session};
pub use shard::{BLOCK, Share};
pub use uner_kernels::link::{Cut, Link, Pending, nccl};

use std::sync::Arc;

use burn::tensor::{DType, Tensor, TensorData};

use crate::error::TrainError;
use rendezvous::Meeting;

/// The processes of a run, as one of them sees them.
pub trait Processes: Send + Sync + std::fmt::Debug {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;
    /// How many there are.
    fn count(&self) -> usize;
    /// The number of this process among those on the same machine, and how many these are.
    fn on_this_machine(&self) -> (usize, usize);
    /// The element-wise sum over all processes, in their order: the same bits on each.
    fn sum(&self, values: Vec<f32>) -> Vec<f32>;
    /// As [`Processes::sum`], of a few numbers in double precision.
    fn total(&self, values: Vec<f64>) -> Vec<f64>;
    /// What each process gives, one after the other in their order.
    fn gather(&self, part: Vec<f32>) -> Vec<f32>;
    /// The bytes of process 0.
    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8>;
}

/// One rank among all.
#[derive(Debug)]
pub struct Group {
    rank: usize,
    world_size: usize,
    /// `None` where there is one rank only: nothing is summed or copied then.
    crew: Option<Member>,
}

/// A rank among those of its process.
#[derive(Debug)]
struct Member {
    seat: usize,
    crew: Arc<Crew>,
}

/// The ranks of one process.
#[derive(Debug)]
struct Crew {
    seats: usize,
    values: Meeting<f32>,
    totals: Meeting<f64>,
    bytes: Meeting<u8>,
    link: Option<Box<dyn Link>>,
    processes: Option<Box<dyn Processes>>,
}

impl Group {
    /// The only rank there is.
    pub fn alone() -> Self {
        Self { rank: 0, world_size: 1, crew: None }
    }

    /// The ranks of this process, one for each of its `devices`; those of other processes come
    /// before or behind them.
    ///
    /// # Panics
    /// When there is no device.
    pub fn all(devices: usize, processes: Option<Box<dyn Processes>>) -> Vec<Self> {
        Self::linked(devices, None, processes)
    }

    /// As [`Group::all`], of devices that a link connects, even where there is only one.
    ///
    /// # Panics
    /// When there is no device.
    pub fn linked(
        devices: usize,
        link: Option<Box<dyn Link>>,
        processes: Option<Box<dyn Processes>>,
    ) -> Vec<Self> {
        assert!(devices > 0, "a process without a device");
        let (process, count) = processes.as_ref().map_or((0, 1), |all| (all.rank(), all.count()));
        let world_size = devices * count;
        if world_size == 1 && link.is_none() {
            return vec![Self::alone()];
        }
        let (values, totals) = (Meeting::new(devices), Meeting::new(devices));
        let bytes = Meeting::new(devices);
        let crew = Arc::new(Crew { seats: devices, values, totals, bytes, link, processes });
        let member = |seat| Member { seat, crew: Arc::clone(&crew) };
        (0..devices)
            .map(|seat| Self {
                rank: process * devices + seat,
                world_size,
                crew: Some(member(seat)),
            })
            .collect()
    }

    /// The number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many ranks there are.
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    /// Whether this rank speaks for all: it writes files and shows progress.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// Whether it is the only one, and linked to nobody.
    pub fn is_alone(&self) -> bool {
        self.crew.is_none()
    }

    /// Whether what is started runs beside what is computed next.
    pub fn overlaps(&self) -> bool {
        self.crew.as_ref().is_some_and(|member| member.link().is_some())
    }

    /// What this rank owns of `count` elements.
    pub fn share(&self, count: usize) -> Share {
        Share::new(count, self.rank, self.world_size)
    }

    /// The sum over all ranks of this rank's share of a gradient: see [`Group::start_reduce`].
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn reduce(&self, gradient: Tensor<1>) -> Result<Tensor<1>, TrainError> {
        Ok(self.start_reduce(vec![gradient])?.wait().remove(0))
    }

    /// Starts to add gradients up over all ranks, each `[n]` to this rank's share of the sum, in
    /// f32 where there is more than one rank. Every rank has to call, in the same order. It is done
    /// on return where nothing [overlaps](Self::overlaps).
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn start_reduce(&self, gradients: Vec<Tensor<1>>) -> Result<Pending, TrainError> {
        let Some(member) = &self.crew else { return Ok(Pending::done(gradients)) };
        let crew = &member.crew;
        let Some(link) = &crew.link else {
            let share = |gradient| self.share_of_sum(member, gradient, sum);
            return Ok(Pending::done(gradients.into_iter().map(share).collect::<Result<_, _>>()?));
        };
        let cut = |gradient: Tensor<1>| {
            let edges = Share::edges(gradient.dims()[0], crew.seats);
            Cut { values: gradient.cast(DType::F32), edges }
        };
        member.meet()?;
        let pending = link.reduce_scatter(member.seat, gradients.into_iter().map(cut).collect());
        if crew.processes.is_none() {
            return Ok(pending);
        }
        // Together the ranks of the process have its sum, and bring it to the other processes.
        let share = |part| self.share_of_sum(member, part, |parts| parts.concat());
        Ok(Pending::done(pending.wait().into_iter().map(share).collect::<Result<_, _>>()?))
    }

    /// This rank's share of the sum over all processes, of what `combine` makes of the parts that
    /// the ranks of each bring.
    fn share_of_sum(
        &self,
        member: &Member,
        part: Tensor<1>,
        combine: impl FnOnce(Vec<Vec<f32>>) -> Vec<f32>,
    ) -> Result<Tensor<1>, TrainError> {
        let device = part.device();
        let sum =
            member.meet_values(host(part), combine, |processes, values| processes.sum(values))?;
        Ok(on_device(sum[self.share(sum.len()).range()].to_vec(), DType::F32, &device))
    }

    /// The whole, `[count]`, of what each rank has a share of: see [`Group::start_gather`].
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn gather(&self, share: Tensor<1>, count: usize) -> Result<Tensor<1>, TrainError> {
        Ok(self.start_gather(vec![(share, count)])?.wait().remove(0))
    }

    /// Starts to gather the wholes, `[count]`, of which each rank has shares, in their types. Every
    /// rank has to call, in the same order. It is done on return where nothing
    /// [overlaps](Self::overlaps).
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn start_gather(&self, shares: Vec<(Tensor<1>, usize)>) -> Result<Pending, TrainError> {
        let Some(member) = &self.crew else {
            return Ok(Pending::done(shares.into_iter().map(|(share, _)| share).collect()));
        };
        let Some(link) = member.link() else {
            let whole = |(share, _): (Tensor<1>, usize)| {
                let (device, dtype) = (share.device(), share.dtype());
                Ok(on_device(self.gather_values(host(share))?.to_vec(), dtype, &device))
            };
            return Ok(Pending::done(
                shares.into_iter().map(whole).collect::<Result<_, TrainError>>()?,
            ));
        };
        let cut = |(values, count)| Cut { values, edges: Share::edges(count, self.world_size) };
        member.meet()?;
        Ok(link.all_gather(member.seat, shares.into_iter().map(cut).collect()))
    }

    /// As [`Group::gather`], on the host.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn gather_values(&self, share: Vec<f32>) -> Result<Arc<Vec<f32>>, TrainError> {
        let Some(member) = &self.crew else { return Ok(Arc::new(share)) };
        member.meet_values(share, |parts| parts.concat(), |processes, part| processes.gather(part))
    }

    /// The sums over all ranks.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn total<const N: usize>(&self, values: [f64; N]) -> Result<[f64; N], TrainError> {
        let Some(member) = &self.crew else { return Ok(values) };
        let crew = &member.crew;
        let total = crew.totals.meet(member.seat, values.to_vec(), |parts| {
            let total = sum(parts);
            crew.processes.as_ref().map_or_else(|| total.clone(), |all| all.total(total.clone()))
        })?;
        Ok(std::array::from_fn(|index| total[index]))
    }

    /// The bytes of rank 0 on every rank; what the others pass is ignored.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn broadcast(&self, bytes: Vec<u8>) -> Result<Arc<Vec<u8>>, TrainError> {
        let Some(Member { seat, crew }) = &self.crew else { return Ok(Arc::new(bytes)) };
        crew.bytes.meet(*seat, bytes, |mut parts| {
            let first = std::mem::take(&mut parts[0]);
            match &crew.processes {
                None => first,
                Some(processes) => processes.broadcast(first),
            }
        })
    }

    /// For each of some questions, whether any rank says yes.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn any<const N: usize>(&self, answers: [bool; N]) -> Result<[bool; N], TrainError> {
        Ok(self.total(answers.map(|answer| f64::from(u8::from(answer))))?.map(|count| count > 0.0))
    }

    /// Does this rank's part of the run. Where it fails or panics, the other ranks are told.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn take_part<T, E: std::fmt::Display>(
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

    /// Lets the other ranks of this process know that this one cannot go on: whoever waits for it,
    /// or will, gets an error.
    fn fail(&self, problem: &str) {
        if let Some(Member { crew, .. }) = &self.crew {
            crew.values.fail(self.rank, problem);
            crew.totals.fail(self.rank, problem);
            crew.bytes.fail(self.rank, problem);
            if let Some(link) = &crew.link {
                link.abort();
            }
        }
    }
}

impl Member {
    /// The link, where it connects all ranks there are.
    fn link(&self) -> Option<&dyn Link> {
        let Crew { link, processes, .. } = &*self.crew;
        link.as_deref().filter(|_| processes.is_none())
    }

    /// All ranks meet before they use the link: who waits for a device cannot be told that another
    /// rank has failed.
    fn meet(&self) -> Result<(), TrainError> {
        self.crew.totals.meet(self.seat, Vec::new(), |_| Vec::new()).map(|_| ())
    }

    fn meet_values(
        &self,
        part: Vec<f32>,
        combine: impl FnOnce(Vec<Vec<f32>>) -> Vec<f32>,
        across: impl FnOnce(&dyn Processes, Vec<f32>) -> Vec<f32>,
    ) -> Result<Arc<Vec<f32>>, TrainError> {
        let crew = &self.crew;
        crew.values.meet(self.seat, part, |parts| {
            let combined = combine(parts);
            match &crew.processes {
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
        assert_eq!(sum.len(), part.len(), "ranks add up the same parameters");
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
        assert_eq!(*Group::alone().broadcast(vec![7]).unwrap(), [7]);
        std::thread::scope(|scope| {
            for group in Group::all(3, None) {
                scope.spawn(move || {
                    let own = vec![1 + group.rank() as u8; 1 + group.rank()];
                    assert_eq!(*group.broadcast(own).unwrap(), [1]);
                });
            }
        });
    }

    /// As parameters and gradients are on a GPU: sums are f32, what is gathered keeps its type and
    /// its bits.
    #[test]
    fn short_types_are_summed_in_f32_and_gathered_as_they_are() {
        let device = Device::flex();
        let values: Vec<f32> = (0..2 * BLOCK + 7).map(|index| (index % 251) as f32).collect();
        std::thread::scope(|scope| {
            for group in Group::all(2, None) {
                let (device, values) = (&device, &values);
                scope.spawn(move || {
                    let gradient = on_device(values.clone(), DType::BF16, device);
                    let share = group.share(values.len());
                    let sum = group.reduce(gradient.clone()).unwrap();
                    assert_eq!((sum.dtype(), sum.dims()), (DType::F32, [share.len]));
                    let twice: Vec<f32> =
                        values[share.range()].iter().map(|value| 2.0 * value).collect();
                    assert_eq!(host(sum), twice);
                    let whole = group.gather(share.of(gradient), values.len()).unwrap();
                    assert_eq!((whole.dtype(), host(whole)), (DType::BF16, values.clone()));
                });
            }
        });
    }
}
