//! Sums between the devices of one process that do not go through the host.

use burn::tensor::distributed::{ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor};

/// What connects the devices of a process.
pub trait Link: Send + Sync + std::fmt::Debug {
    /// The element-wise sum of what the ranks bring, in their type: the same bits for all. The rank in `seat` calls from its own
    /// thread, all of them in the same order.
    fn sum(&self, seat: usize, values: Tensor<1>) -> Tensor<1>;
}

/// NVIDIA's collectives, by burn. The library is opened at the first sum.
#[derive(Debug)]
pub struct Nccl {
    devices: Vec<Device>,
}

impl Nccl {
    /// Connects different CUDA devices, in the order of their ranks.
    pub fn new(devices: Vec<Device>) -> Self {
        Self { devices }
    }
}

impl Link for Nccl {
    fn sum(&self, _seat: usize, values: Tensor<1>) -> Tensor<1> {
        all_reduce(values, ReduceOperation::Sum, self.devices.clone()).resolve()
    }
}
