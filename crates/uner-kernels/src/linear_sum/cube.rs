//! The sum on the GPU: a product that accumulates into `sum`.

use burn::backend::Cube;

use super::LinearSumKernels;
use crate::cube::{Floats, contiguous};
use crate::linear::cube::{accumulate, transposed};

impl LinearSumKernels for Cube {
    fn add_weight_gradient(sum: Floats, dy: Floats, x: Floats) -> Floats {
        let sum = contiguous(sum);
        accumulate(&sum, &transposed(dy), &x);
        sum
    }
}
