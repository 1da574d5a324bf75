//! NVIDIA's libraries beside CubeCL's kernels, on the same streams, in the same order and on the
//! same buffers.

pub(crate) mod cublaslt;
pub(crate) mod nccl;
mod stream;
