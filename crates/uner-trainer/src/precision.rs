//! What numbers are stored in. The policy, in one place:
//!
//! | | CPU, and GPUs without bf16 | GPU |
//! |---|---|---|
//! | parameters | f32 | bf16 |
//! | master weights | the parameters | f32 |
//! | activations, gradients of one micro-batch | f32 | bf16 |
//! | statistics of norms and softmax, loss | f32 | f32 |
//! | gradients of several micro-batches or ranks, their norm | f32 | f32 |
//! | moments, the update | f32 | f32 |

use burn::tensor::{DType, Device};

/// The type that parameters are stored in while they are trained on a device.
pub fn parameters(device: &Device) -> DType {
    if *device != Device::flex() && device.supports_dtype(DType::BF16) { DType::BF16 } else { DType::F32 }
}
