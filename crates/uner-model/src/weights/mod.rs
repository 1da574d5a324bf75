//! Weights: reads and writes Hugging Face folders (`config.json` and safetensors, in one file or in
//! shards with an index), and draws random weights.

mod files;
mod host;
mod random;
mod read;
mod tensors;
mod write;

pub use crate::error::WeightsError;
pub use crate::source::ParameterSource;
pub(crate) use crate::source::lasting;
pub use files::{inside, open_regular, write_safetensors};
pub use host::HostTensor;
pub(crate) use random::Random;
pub use random::random;
pub(crate) use read::{Files, are_finite, map_file, open, read_json, to_f32, weight_files};
pub use read::{load, load_frozen, read_config};
pub(crate) use tensors::{HEAD, Tensors};
pub use write::{MAX_SHARD_BYTES, dtype_of, save, write};
pub(crate) use write::{stored, torch_dtype, write_config, write_file, write_weights};

#[cfg(test)]
mod tests;
