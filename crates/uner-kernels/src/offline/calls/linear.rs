use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, TOKENS, call, name, over};
use crate::linear::LinearKernels;
use crate::linear::cube::accumulate;

/// The three products, and the sum of products. The products themselves are burn's kernels.
pub(super) fn calls() -> Vec<Call> {
    let forms = over(&[4096, 7]);
    forms
        .map(|(dtype, width)| {
            call(format!("{} width {width}", name(dtype)), move |device| {
                let x = device.tensor([TOKENS, width], dtype);
                let weight = device.tensor([width, width], dtype);
                let dy = Cube::linear_forward(x.clone(), weight.clone());
                Cube::linear_backward_x(dy.clone(), weight.clone(), None);
                Cube::linear_backward_weight(dy, x.clone());
                accumulate(&device.tensor([TOKENS, width], DType::F32), &x, &weight);
            })
        })
        .collect()
}
