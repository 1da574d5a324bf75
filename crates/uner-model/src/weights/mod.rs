//! Weights in and out: Hugging Face folders (`config.json` and safetensors, in one file or in
//! shards with an index), and random ones.

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

use crate::adapter::BaseForm;

/// Where a model's parameters come from, asked for by checkpoint name and shape.
pub trait Source {
    /// The parameter `name`, on the model's device. That of a file is f32.
    ///
    /// # Errors
    /// When it cannot be given.
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightsError>;

    /// The form that the layers of blocks are quantised to, where they are.
    fn base_form(&self) -> Option<BaseForm> {
        None
    }
}

/// Numbers on a device, in memory of exactly their size: they stay for as long as the model does,
/// and among what comes and goes they would keep large pieces of a GPU's memory from being used
/// again.
pub(crate) fn lasting<const D: usize>(values: TensorData, device: &Device) -> Tensor<D> {
    device.memory_persistent_allocations(values, |values| Tensor::from_data(values, device))
}

#[cfg(test)]
mod tests;
