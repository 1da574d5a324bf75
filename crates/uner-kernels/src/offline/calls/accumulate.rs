use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, call, name, over};
use crate::accumulate::AccumulateOps;

/// Elements of a matrix, and a number that no vector divides.
pub(super) fn calls() -> Vec<Call> {
    over(&[4096 * 4096, 33 * 7])
        .map(|(dtype, count)| {
            call(format!("{} elements {count}", name(dtype)), move |device| {
                Cube::accumulate(device.tensor([count], DType::F32), device.tensor([count], dtype));
            })
        })
        .collect()
}
