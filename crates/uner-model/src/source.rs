//! Where a model's parameters come from: files, random numbers, shards.

use burn::tensor::{Device, Tensor, TensorData};

use crate::config::BaseFormat;
use crate::error::WeightsError;

/// A source of a model's parameters, by checkpoint name and shape.
pub trait ParameterSource {
    /// Returns the parameter `name` on the model's device. Parameters from files are f32.
    ///
    /// # Errors
    /// When the source does not have it.
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightsError>;

    /// The format to which the layers of blocks are quantised; `None` if they are not.
    fn base_format(&self) -> Option<BaseFormat> {
        None
    }
}

/// Copies numbers to a device, into an allocation of exactly their size. They live as long as the
/// model; among short-lived tensors they would keep large pages of GPU memory from being reused.
pub(crate) fn lasting<const D: usize>(values: TensorData, device: &Device) -> Tensor<D> {
    device.memory_persistent_allocations(values, |values| Tensor::from_data(values, device))
}
