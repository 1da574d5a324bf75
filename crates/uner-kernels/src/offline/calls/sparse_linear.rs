use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, TOKENS, call, name, over};
use crate::sparse_linear::SparseLinearOps;

/// Heads of the models, and one whose rows no vector divides; a head may be bf16 beside f32.
pub(super) fn calls() -> Vec<Call> {
    over(&[4096, 33])
        .map(|(dtype, width)| {
            call(format!("{} {width}", name(dtype)), move |device| {
                for weight in [dtype, DType::BF16] {
                    Cube::sparse_linear(
                        device.tensor([TOKENS, width], dtype),
                        device.tensor([TOKENS, width], weight),
                        vec![(0, 0)].into(),
                    );
                }
            })
        })
        .collect()
}
