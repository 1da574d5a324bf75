//! Collectives with NVIDIA's NCCL, opened at run time; each device uses a stream of its own.

mod cut;
mod library;

use std::ffi::c_int;
use std::sync::Arc;

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{DType, Tensor};
use cubecl::server::Handle;
use cubecl_core::environment::stream::StreamId;

use self::cut::Operation;
use self::library::{Communicator, Transfer, connect};
use super::stream::{Buffers, InFlight, side_stream, submit_beside};
use crate::cube::{Floats, contiguous, empty};
use crate::device::DeviceName;
use crate::link::{Collective, Cut, Pending};

/// The connected devices of a process.
#[derive(Debug)]
pub(crate) struct Nccl(Vec<Seat>);

/// One rank's connection.
#[derive(Debug)]
struct Seat {
    communicator: Arc<Communicator>,
    stream: StreamId,
}

/// One vector of a collective.
struct Exchange {
    sent: Floats,
    received: Floats,
    operations: Vec<Operation>,
}

impl Nccl {
    /// See [`nccl`](crate::link::nccl()).
    pub(crate) fn new(devices: &[DeviceName]) -> Result<Self, String> {
        let number = |device: &DeviceName| match device {
            DeviceName::Cuda(index) => Ok(*index as c_int),
            other => Err(format!("NCCL connects CUDA devices, and `{other}` is not one")),
        };
        let numbers: Vec<c_int> = devices.iter().map(number).collect::<Result<_, _>>()?;
        let local_rank =
            |communicator| Seat { communicator: Arc::new(communicator), stream: side_stream() };
        Ok(Self(connect(&numbers)?.into_iter().map(local_rank).collect()))
    }

    fn start(&self, local_rank: usize, exchanges: Vec<Exchange>) -> Pending {
        let in_flight = self.0[local_rank].start(&exchanges);
        Pending::new(move || {
            drop(in_flight);
            exchanges.into_iter().map(|exchange| tensor(exchange.received)).collect()
        })
    }
}

impl Collective for Nccl {
    fn reduce_scatter(&self, local_rank: usize, values: Vec<Cut>) -> Pending {
        let exchange = |Cut { values, edges }: Cut| {
            let sent = contiguous(floats(values));
            let received = empty(&sent, [edges[local_rank + 1] - edges[local_rank]], sent.dtype());
            Exchange { sent, received, operations: cut::reduce_scatter(&edges) }
        };
        self.start(local_rank, values.into_iter().map(exchange).collect())
    }

    fn all_gather(&self, local_rank: usize, parts: Vec<Cut>) -> Pending {
        let exchange = |Cut { values, edges }: Cut| {
            let sent = contiguous(floats(values));
            let received = empty(&sent, [edges[edges.len() - 1]], sent.dtype());
            Exchange { sent, received, operations: cut::all_gather(&edges) }
        };
        self.start(local_rank, parts.into_iter().map(exchange).collect())
    }

    fn abort(&self) {
        self.0.iter().for_each(|local_rank| local_rank.communicator.abort());
    }
}

impl Seat {
    /// Starts the exchanges in one group; `None` if there is nothing to exchange.
    fn start(&self, exchanges: &[Exchange]) -> Option<InFlight> {
        let mut buffers = Buffers::default();
        let mut jobs: Vec<Job> = Vec::new();
        for Exchange { sent, received, operations } in exchanges {
            let read = add(&mut buffers.read, sent);
            let written = add(&mut buffers.written, received);
            let job = |&operation| Job { operation, dtype: sent.dtype(), read, written };
            jobs.extend(operations.iter().map(job));
        }
        if jobs.is_empty() {
            return None;
        }
        let (communicator, client) = (Arc::clone(&self.communicator), &exchanges[0].sent.client);
        let num_read = buffers.read.len();
        Some(submit_beside(client, self.stream, buffers, move |call| {
            let (read, written) = call.addresses.split_at(num_read);
            let transfers: Vec<Transfer> =
                jobs.iter().map(|job| job.transfer(read, written)).collect();
            communicator.start(&transfers, call.stream)
        }))
    }
}

/// An operation, and the indices of its buffers in a call; `None` for an empty buffer.
struct Job {
    operation: Operation,
    dtype: DType,
    read: Option<usize>,
    written: Option<usize>,
}

impl Job {
    fn transfer(&self, read: &[u64], written: &[u64]) -> Transfer {
        let Self { operation, dtype, .. } = *self;
        let address = |index: Option<usize>, of: &[u64]| index.map_or(0, |index| of[index]);
        Transfer {
            operation,
            dtype,
            sent: address(self.read, read),
            received: address(self.written, written),
        }
    }
}

/// Adds the tensor's buffer and returns its index, unless it is empty.
fn add(buffers: &mut Vec<Handle>, tensor: &Floats) -> Option<usize> {
    (tensor.shape().num_elements() > 0).then(|| {
        buffers.push(tensor.handle.clone());
        buffers.len() - 1
    })
}

fn floats(tensor: Tensor<1>) -> Floats {
    tensor.try_into_primitive::<Cube>().expect("a CUDA tensor")
}

fn tensor(floats: Floats) -> Tensor<1> {
    Tensor::from_primitive::<Cube>(floats)
}
