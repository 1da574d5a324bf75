use burn::backend::Cube;

use super::{Call, call, name, over};
use crate::squared_norm::SquaredNormOps;

/// Elements of a matrix, and so many that a vector has 2 or 1 and a cube is not full.
pub(super) fn calls() -> Vec<Call> {
    over(&[4096 * 4096, 33 * 6, 33 * 7])
        .map(|(dtype, count)| {
            call(format!("{} elements {count}", name(dtype)), move |device| {
                Cube::squared_norm(device.tensor([count], dtype));
            })
        })
        .collect()
}
