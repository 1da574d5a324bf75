//! Collectives of NVIDIA's NCCL, in a program with or without CUDA.

use crate::device::DeviceName;
use crate::link::Collective;

/// Connects different CUDA devices with NVIDIA's NCCL, in the order of their ranks.
///
/// # Errors
/// When the library is missing or refuses the devices.
#[cfg(feature = "cuda")]
pub fn nccl(devices: &[DeviceName]) -> Result<Box<dyn Collective>, String> {
    Ok(Box::new(crate::cuda::nccl::Nccl::new(devices)?))
}

/// Fails, because this program was built without CUDA.
///
/// # Errors
/// Always.
#[cfg(not(feature = "cuda"))]
pub fn nccl(_devices: &[DeviceName]) -> Result<Box<dyn Collective>, String> {
    Err("this program was built without CUDA".to_owned())
}
