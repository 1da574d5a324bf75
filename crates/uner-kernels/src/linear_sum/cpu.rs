//! The sum on the CPU: computes the product, then adds it.

use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;

use super::LinearSumKernels;
use crate::flex::Floats;
use crate::linear::LinearKernels;

impl LinearSumKernels for Flex {
    fn add_weight_gradient(sum: Floats, dy: Floats, x: Floats) -> Floats {
        Self::float_add(Self::linear_backward_weight(dy, x), sum)
    }
}
