//! The sum on the CPU: computes the product, then adds it.

use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;

use super::AddLinearKernels;
use crate::flex::Floats;
use crate::linear::LinearKernels;

impl AddLinearKernels for Flex {
    fn add_linear_forward(base: Floats, x: Floats, weight: Floats) -> Floats {
        Self::float_add(base, Self::linear_forward(x, weight))
    }
}
