//! The entries on the GPU: a product with all rows of the weight that any entry names, of which the
//! entries are picked.

use burn::backend::Cube;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::tensor::{Shape, TensorData};

use super::{Entries, SparseLinearOps};
use crate::cube::{Floats, Ints, dims};
use crate::linear::LinearKernels;

impl SparseLinearOps for Cube {
    fn sparse_linear(x: Floats, weight: Floats, entries: Entries) -> Floats {
        let mut outputs: Vec<usize> = entries.iter().map(|entry| entry.1).collect();
        outputs.sort_unstable();
        outputs.dedup();
        let index = |values: Vec<usize>| -> Ints {
            let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
            let shape = [values.len()];
            Self::int_from_data(TensorData::new(values, shape), &x.device)
        };
        let column =
            |output: usize| outputs.binary_search(&output).expect("every output is listed");
        let width = outputs.len();
        let picked = entries.iter().map(|&(row, output)| row * width + column(output)).collect();
        let picked = index(picked);
        let weight = Self::float_select(weight, 0, index(outputs.clone()));
        let [tokens, _] = dims(&x);
        let y = Self::linear_forward(x, weight);
        Self::float_select(Self::float_reshape(y, Shape::new([tokens * width])), 0, picked)
    }
}
