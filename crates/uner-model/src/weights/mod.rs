//! Weights: reads and writes Hugging Face folders (`config.json` and safetensors, in one file or in
//! shards with an index), and draws random weights.

mod error;
mod files;
mod host;
mod random;
mod read;
mod tensors;
mod write;

pub use error::WeightsError;
pub use files::{inside, open_regular, write_safetensors};
pub use host::HostTensor;
pub use random::random;
pub(crate) use read::{are_finite, map_file, open, to_f32, weight_files};
pub use read::{load, load_frozen, read_config};
pub(crate) use tensors::Tensors;
pub use write::{MAX_SHARD_BYTES, dtype_of, save, write};
pub(crate) use write::{stored, write_config, write_file, write_weights};

use burn::tensor::{Device, Tensor, TensorData};

use crate::adapter::BaseFormat;

/// A source of a model's parameters, by checkpoint name and shape.
pub trait Source {
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

#[cfg(test)]
mod tests;
