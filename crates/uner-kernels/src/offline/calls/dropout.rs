use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, call, name, over};
use crate::dropout::{Draw, DropoutKernels};

/// Rows of the models that are trained, and such that a vector has 2 or 1 elements. Both directions are one kernel.
pub(super) fn calls() -> Vec<Call> {
    let forms = over(&[4_096, 6, 7]);
    forms
        .map(|(dtype, columns)| {
            call(format!("{} columns {columns}", name(dtype)), move |device| {
                let draw = Draw { place: 1, probability: 0.1 };
                Cube::drop_out(device.tensor([33, columns], dtype), device.tensor([33], DType::I32), draw);
            })
        })
        .collect()
}
