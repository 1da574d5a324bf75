//! No GPU reads packed weights: its products have no copy to save.

use burn::backend::{Cube, TensorMetadata};

use super::{PackedLinearOps, PackedWeight};
use crate::cube::Floats;

impl PackedLinearOps for Cube {
    fn packed_linear(x: Floats, weight: PackedWeight) -> Floats {
        panic!(
            "packed weights are for the CPU: `x` {:?} is on a GPU, the weight has {:?}",
            x.shape(),
            weight.dims()
        )
    }
}
