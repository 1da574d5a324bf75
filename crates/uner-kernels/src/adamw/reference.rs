//! The update in burn operations.

use burn::tensor::{DType, Tensor};

use super::{AdamWState, AdamWStep};

/// See [`super::adamw`].
pub fn reference(
    param: Tensor<1>,
    grad: Tensor<1>,
    state: AdamWState,
    step: &AdamWStep,
) -> (Tensor<1>, AdamWState) {
    let dtype = param.dtype();
    let keeps_master = state.master.is_some();
    let master = state.master.unwrap_or(param);
    let grad = grad.cast(DType::F32).mul_scalar(step.grad_scale);
    let exp_avg = state.exp_avg.mul_scalar(step.beta1).add(grad.clone().mul_scalar(1.0 - step.beta1));
    let exp_avg_sq = state.exp_avg_sq.mul_scalar(step.beta2).add(grad.square().mul_scalar(1.0 - step.beta2));

    let correction1 = 1.0 - step.beta1.powi(step.step as i32);
    let correction2 = 1.0 - step.beta2.powi(step.step as i32);
    let denominator = exp_avg_sq.clone().sqrt().div_scalar(correction2.sqrt()).add_scalar(step.eps);
    let update = exp_avg.clone().div(denominator).mul_scalar(step.lr / correction1);
    let master = master.mul_scalar(1.0 - step.lr * step.weight_decay).sub(update);
    let param = master.clone().cast(dtype);
    (param, AdamWState { master: keeps_master.then_some(master), exp_avg, exp_avg_sq })
}
