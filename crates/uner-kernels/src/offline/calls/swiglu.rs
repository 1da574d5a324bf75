use burn::backend::Cube;

use super::{Call, call, name, over};
use crate::swiglu::SwigluKernels;

/// Many elements, and numbers for which a vector has 2 or 1.
pub(super) fn calls() -> Vec<Call> {
    let forms = over(&[[512, 11_008], [33, 6], [33, 7]]);
    forms
        .map(|(dtype, shape)| {
            call(format!("{} elements {}", name(dtype), shape[0] * shape[1]), move |device| {
                let tensor = || device.tensor(shape, dtype);
                Cube::swiglu_forward(tensor(), tensor());
                Cube::swiglu_backward(tensor(), tensor(), tensor());
            })
        })
        .collect()
}
