use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, FLOATS, call, name, over};
use crate::adamw::{AdamWOps, AdamWStep};

const STEP: AdamWStep =
    AdamWStep { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 1, grad_scale: 1.0 };
/// Elements of a parameter: of a matrix, and so many that no vector divides them.
const COUNTS: [usize; 2] = [4096 * 4096, 33 * 7];

/// Each type of gradient, without a master and with one for each type of parameter.
pub(super) fn calls() -> Vec<Call> {
    let own = over(&COUNTS).map(|(grad, count)| {
        call(format!("gradient {} elements {count}", name(grad)), move |device| {
            let f32 = || device.tensor([count], DType::F32);
            Cube::adamw(f32(), device.tensor([count], grad), f32(), f32(), STEP);
        })
    });
    let pairs = COUNTS.into_iter().flat_map(|count| over(&FLOATS).map(move |pair| (pair, count)));
    let master = pairs.map(|((grad, param), count)| {
        let form = format!("gradient {} parameter {} elements {count}", name(grad), name(param));
        call(form, move |device| {
            let f32 = || device.tensor([count], DType::F32);
            let (param, grad) = (device.tensor([count], param), device.tensor([count], grad));
            Cube::adamw_with_master(param, f32(), grad, f32(), f32(), STEP);
        })
    });
    own.chain(master).collect()
}
