use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, FLOATS, TOKENS, call, name, over};
use crate::offline::recorder::Recorder;
use crate::rms_norm::RmsNormKernels;

/// Rows in the weight's type of every width, and in another type of one width.
pub(super) fn calls() -> Vec<Call> {
    let alike = over(&[128, 288, 4096, 5120, 7]);
    let alike = alike.map(|(dtype, hidden)| {
        call(format!("{} hidden {hidden}", name(dtype)), move |device| {
            passes(device, hidden, dtype, dtype);
        })
    });
    let mixed = over(&FLOATS).filter(|(dtype, weight)| dtype != weight);
    let mixed = mixed.map(|(dtype, weight)| {
        let form = format!("{} weight {} hidden 4096", name(dtype), name(weight));
        call(form, move |device| passes(device, 4096, dtype, weight))
    });
    alike.chain(mixed).collect()
}

fn passes(device: &Recorder, hidden: usize, dtype: DType, weight: DType) {
    let weight = device.tensor([hidden], weight);
    let rows = || device.tensor([TOKENS, hidden], dtype);
    Cube::rms_norm_forward(rows(), weight.clone(), 1e-6);
    Cube::add_rms_norm_forward(rows(), rows(), weight.clone(), 1e-6);
    for (has_residual_grad, wants_weight) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let residual_grad = has_residual_grad.then(rows);
        Cube::rms_norm_backward(rows(), weight.clone(), 1e-6, rows(), residual_grad, wants_weight);
    }
}
