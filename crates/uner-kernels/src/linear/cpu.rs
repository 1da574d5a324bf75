//! The linear layer on the CPU.

use burn::backend::{Flex, ops::FloatTensorOps};

use super::LinearKernels;
use crate::flex::Floats;

impl LinearKernels for Flex {
    fn linear_forward(x: Floats, weight: Floats) -> Floats {
        Self::float_matmul(x, Self::float_transpose(weight))
    }

    fn linear_backward_x(dy: Floats, weight: Floats) -> Floats {
        Self::float_matmul(dy, weight)
    }

    fn linear_backward_weight(dy: Floats, x: Floats) -> Floats {
        Self::float_matmul(Self::float_transpose(dy), x)
    }
}
