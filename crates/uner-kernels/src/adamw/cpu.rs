//! The update on the CPU: one pass over parameter, gradient and moments, in place where nobody else holds them.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorMetadata};
use rayon::prelude::*;

use super::{AdamWOps, AdamWStep, Factors};
use crate::flex::{Floats, Stored, Values, contiguous, in_order, slice, tensor, values, vectorized};

/// Elements of one piece of work.
const PIECE: usize = 64 * 1024;

impl AdamWOps for Flex {
    fn adamw(
        param: Floats,
        grad: Floats,
        exp_avg: Floats,
        exp_avg_sq: Floats,
        step: AdamWStep,
    ) -> (Floats, Floats, Floats) {
        let [param, exp_avg, exp_avg_sq] = updated([param, exp_avg, exp_avg_sq], grad, &step);
        (param, exp_avg, exp_avg_sq)
    }

    fn adamw_with_master(
        param: Floats,
        master: Floats,
        grad: Floats,
        exp_avg: Floats,
        exp_avg_sq: Floats,
        step: AdamWStep,
    ) -> (Floats, Floats, Floats, Floats) {
        let [master, exp_avg, exp_avg_sq] = updated([master, exp_avg, exp_avg_sq], grad, &step);
        let param = Self::float_cast(master.clone(), param.dtype().into());
        (param, master, exp_avg, exp_avg_sq)
    }
}

/// Parameter, first and second moment after the update.
fn updated(tensors: [Floats; 3], grad: Floats, step: &AdamWStep) -> [Floats; 3] {
    let (mut tensors, grad, factors) = (tensors.map(whole_buffer), in_order(grad), Factors::new(step));
    match values(&grad) {
        Values::F32(grad) => update_all(tensors.each_mut(), grad, factors),
        Values::Bf16(grad) => update_all(tensors.each_mut(), grad, factors),
    }
    tensors
}

/// The tensor, in order, as all of its buffer: a part of another one, such as a rank's share of a parameter, is copied.
fn whole_buffer(tensor: Floats) -> Floats {
    let tensor = contiguous(tensor);
    if tensor.storage::<f32>().len() == slice(&tensor).len() {
        return tensor;
    }
    self::tensor(slice(&tensor).to_vec(), tensor.shape())
}

/// Updates parameter, first and second moment, pieces spread over the threads.
fn update_all<G: Stored>(tensors: [&mut Floats; 3], grad: &[G], factors: Factors) {
    let whole = tensors.each_ref().map(|tensor| tensor.storage::<f32>().len());
    assert_eq!(whole, [grad.len(); 3], "parameter and moments own their buffers");
    let [values, first, second] = tensors.map(|tensor| tensor.storage_mut::<f32>().par_chunks_mut(PIECE));
    values.zip(grad.par_chunks(PIECE)).zip(first).zip(second).for_each(
        |(((values, grad), first), second)| {
            vectorized(
                #[inline(always)]
                || update(values, grad, first, second, factors),
            );
        },
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
