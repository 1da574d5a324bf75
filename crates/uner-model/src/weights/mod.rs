//! Weights in and out: Hugging Face folders (`config.json` and safetensors, in one file or in shards with an
//! index), and random ones.

mod error;
mod host;
mod random;
mod read;
mod write;

pub use error::WeightsError;
pub use host::HostTensor;
pub use random::random;
pub use read::{load, read_config};
pub(crate) use read::{map_file, to_f32};
pub use write::{MAX_SHARD_BYTES, save, to_host, write};

use burn::tensor::Tensor;

/// Where a model's parameters come from, asked for by checkpoint name and shape.
pub trait Source {
    /// The parameter `name`, f32, on the model's device.
    ///
    /// # Errors
    /// When it cannot be given.
    fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, WeightsError>;
}

#[cfg(test)]
mod tests;
