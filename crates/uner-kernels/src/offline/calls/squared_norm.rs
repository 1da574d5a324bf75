use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, call, name, over};
use crate::squared_norm::{PARTS, SquaredNormOps};

/// Elements of a matrix, and numbers for which a vector has 2 or 1 and a cube is not full.
pub(super) fn calls() -> Vec<Call> {
    over(&[4096 * 4096, 33 * 6, 33 * 7])
        .map(|(dtype, count)| {
            call(format!("{} elements {count}", name(dtype)), move |device| {
                let parts = device.tensor([PARTS], DType::F32);
                Cube::sums_of_parts(Cube::squared_parts(device.tensor([count], dtype), parts, 0));
            })
        })
        .collect()
}
