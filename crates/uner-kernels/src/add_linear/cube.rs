//! The sum on the GPU: a product that accumulates into `base`.

use burn::backend::Cube;

use super::AddLinearKernels;
use crate::cube::Floats;
use crate::linear::cube::{add_product, transposed};

impl AddLinearKernels for Cube {
    fn add_linear_forward(base: Floats, x: Floats, weight: Floats) -> Floats {
        add_product(base, x, transposed(weight))
    }
}
