//! The update on the CPU: one pass over parameter, gradient and moments, in place where nobody else holds them.

use burn::backend::Flex;
use rayon::prelude::*;

use super::{AdamWOps, AdamWStep};
use crate::flex::{Floats, Stored, Values, contiguous, in_order, values, vectorized};

/// Elements of one piece of work.
const PIECE: usize = 64 * 1024;

/// The scalars of an update as the inner loop wants them; `rest` is 1 - beta, rounded once.
#[derive(Clone, Copy)]
struct Factors {
    grad: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    keep: f32,
    lr: f32,
    root: f32,
    eps: f32,
}

impl AdamWOps for Flex {
    fn adamw(
        master: Floats,
        grad: Floats,
        exp_avg: Floats,
        exp_avg_sq: Floats,
        step: AdamWStep,
    ) -> (Floats, Floats, Floats) {
        let (mut master, grad) = (contiguous(master), in_order(grad));
        let (mut exp_avg, mut exp_avg_sq) = (contiguous(exp_avg), contiguous(exp_avg_sq));
        let correction1 = 1.0 - step.beta1.powi(step.step as i32);
        let correction2 = 1.0 - step.beta2.powi(step.step as i32);
        let factors = Factors {
            grad: step.grad_scale as f32,
            beta1: step.beta1 as f32,
            rest1: (1.0 - step.beta1) as f32,
            beta2: step.beta2 as f32,
            rest2: (1.0 - step.beta2) as f32,
            keep: (1.0 - step.lr * step.weight_decay) as f32,
            lr: (step.lr / correction1) as f32,
            root: (1.0 / correction2.sqrt()) as f32,
            eps: step.eps as f32,
        };
        let tensors = [&mut master, &mut exp_avg, &mut exp_avg_sq];
        match values(&grad) {
            Values::F32(grad) => update_all(tensors, grad, factors),
            Values::Bf16(grad) => update_all(tensors, grad, factors),
        }
        (master, exp_avg, exp_avg_sq)
    }
}

/// Updates parameter, first and second moment, pieces spread over the threads.
fn update_all<G: Stored>(tensors: [&mut Floats; 3], grad: &[G], factors: Factors) {
    let whole = tensors.each_ref().map(|tensor| tensor.storage::<f32>().len());
    assert_eq!(whole, [grad.len(); 3], "parameter and moments own their buffers");
    let [values, first, second] = tensors.map(|tensor| tensor.storage_mut::<f32>().par_chunks_mut(PIECE));
    values.zip(grad.par_chunks(PIECE)).zip(first).zip(second).for_each(
        |(((values, grad), first), second)| vectorized(|| update(values, grad, first, second, factors)),
    );
}

#[inline(always)]
fn update<G: Stored>(
    values: &mut [f32],
    grad: &[G],
    first: &mut [f32],
    second: &mut [f32],
    factors: Factors,
) {
    for (((value, &grad), m), v) in values.iter_mut().zip(grad).zip(first).zip(second) {
        let grad = grad.widen() * factors.grad;
        *m = factors.beta1 * *m + factors.rest1 * grad;
        *v = factors.beta2 * *v + factors.rest2 * grad * grad;
        *value = factors.keep * *value - factors.lr * *m / (v.sqrt() * factors.root + factors.eps);
    }
}
