//! The update on the CPU: one pass over parameter, gradient and moments, in place for tensors that
//! are not shared.

mod granules;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, TensorData, bf16};
use rayon::prelude::*;

use self::granules::{Moments, update_granules};
use super::code::Draws;
use super::{AdamWOps, AdamWStep, Factors, rest};
use crate::flex::{
    Floats, Ints, Stored, Values, contiguous, in_order, ints, slice, tensor, values, vectorized,
    whole_buffer,
};

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
        if param.dtype() == DType::BF16 {
            let [mut exp_avg, mut exp_avg_sq] =
                [exp_avg, exp_avg_sq].map(|moment| whole_buffer::<f32>(contiguous(moment)));
            let moments = Moments::Float(exp_avg.storage_mut(), exp_avg_sq.storage_mut());
            let param = updated_by_granule(param, grad, moments, &step);
            return (param, exp_avg, exp_avg_sq);
        }
        let [param, exp_avg, exp_avg_sq] = updated([param, exp_avg, exp_avg_sq], grad, &step);
        (param, exp_avg, exp_avg_sq)
    }

    fn adamw_with_rest(
        param: Floats,
        rest: Ints,
        grad: Floats,
        exp_avg: Floats,
        exp_avg_sq: Floats,
        step: AdamWStep,
    ) -> (Floats, Ints, Floats, Floats) {
        let dtype = param.dtype();
        let [value, exp_avg, exp_avg_sq] =
            updated([joined(param, &rest), exp_avg, exp_avg_sq], grad, &step);
        let (param, rest) = Self::parted(value, dtype);
        (param, rest, exp_avg, exp_avg_sq)
    }

    fn adamw_8bit(param: Floats, grad: Floats, words: Ints, step: AdamWStep) -> (Floats, Ints) {
        let mut words = whole_buffer::<i32>(words);
        let param = updated_by_granule(param, grad, Moments::EightBit(words.storage_mut()), &step);
        (param, words)
    }

    fn adamw_8bit_with_rest(
        param: Floats,
        rest: Ints,
        grad: Floats,
        words: Ints,
        step: AdamWStep,
    ) -> (Floats, Ints, Ints) {
        let dtype = param.dtype();
        let (value, words) = Self::adamw_8bit(joined(param, &rest), grad, words, step);
        let (param, rest) = Self::parted(value, dtype);
        (param, rest, words)
    }

    fn parted(value: Floats, dtype: DType) -> (Floats, Ints) {
        let value = contiguous(value);
        let (params, words) = rest::parted(slice(&value));
        let param = tensor(params, value.shape());
        let words = TensorData::new(words.clone(), [words.len()]);
        (Self::float_cast(param, dtype.into()), Ints::from_data(words))
    }
}

/// The f32 values of a parameter and its rest. The CPU trains in f32 without rests, so only its
/// tests use this.
fn joined(param: Floats, words: &Ints) -> Floats {
    let param = contiguous(Flex::float_cast(param, DType::F32.into()));
    tensor(rest::joined(slice(&param), &ints(words)), param.shape())
}

/// Returns the parameter after an update with 8-bit moments or stochastic rounding.
fn updated_by_granule(param: Floats, grad: Floats, moments: Moments, step: &AdamWStep) -> Floats {
    let (grad, factors, draws) = (in_order(grad), Factors::new(step), Draws::new(step));
    if param.dtype() == DType::BF16 {
        let mut param = whole_buffer::<bf16>(param);
        update_granules(param.storage_mut::<bf16>(), &grad, moments, draws, factors);
        return param;
    }
    let mut param = whole_buffer::<f32>(contiguous(param));
    update_granules(param.storage_mut::<f32>(), &grad, moments, draws, factors);
    param
}

/// Returns parameter, first and second moment after the update.
fn updated(tensors: [Floats; 3], grad: Floats, step: &AdamWStep) -> [Floats; 3] {
    let mut tensors = tensors.map(|tensor| whole_buffer::<f32>(contiguous(tensor)));
    let (grad, factors) = (in_order(grad), Factors::new(step));
    match values(&grad) {
        Values::F32(grad) => update_all(tensors.each_mut(), grad, factors),
        Values::Bf16(grad) => update_all(tensors.each_mut(), grad, factors),
    }
    tensors
}

/// Updates parameter, first and second moment, in pieces spread over the threads.
fn update_all<G: Stored>(tensors: [&mut Floats; 3], grad: &[G], factors: Factors) {
    let whole = tensors.each_ref().map(|tensor| tensor.storage::<f32>().len());
    assert_eq!(whole, [grad.len(); 3], "parameter and moments own their buffers");
    let [values, first, second] =
        tensors.map(|tensor| tensor.storage_mut::<f32>().par_chunks_mut(PIECE));
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
        *m = factors.beta1 * *m + factors.one_minus_beta1 * grad;
        *v = factors.beta2 * *v + factors.one_minus_beta2 * grad * grad;
        *value = factors.decay * *value - factors.lr * *m / (v.sqrt() * factors.root + factors.eps);
    }
}
