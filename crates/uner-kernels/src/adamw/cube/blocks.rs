//! The update of moments in 8 bits: one cube a block, four neighbours a unit; and of parameters that are rounded at random.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::kernel::{cast, into_contiguous};
use cubecl::calculate_cube_count_elemwise;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::code::{BLOCK, CODE_WORDS};
use super::super::{AdamWStep, Factors};
use super::unit::{LANES, Random, by_chance, own_block, pack, updated_held, widen};
use super::{Plan, updated};
use crate::cube::{Floats, Ints, contiguous, element};

/// The words, contiguous and held by nobody else.
pub(super) fn owned_words(words: Ints) -> Ints {
    let words = into_contiguous(cast(words, DType::I32));
    if words.can_mut() { words } else { words.copy() }
}

/// Elements that one load moves: as many as a unit has, where the number of all can be divided like that.
pub(super) fn vector(elements: usize) -> usize {
    if elements.is_multiple_of(LANES) { LANES } else { 1 }
}

/// A cube for each block; the last cubes may have none.
pub(super) fn cubes_of(tensor: &Floats) -> (CubeCount, CubeDim) {
    let units = CubeDim::new_1d(CODE_WORDS as u32);
    let blocks = tensor.shape().num_elements().div_ceil(BLOCK);
    (calculate_cube_count_elemwise(&tensor.client, blocks * CODE_WORDS, units), units)
}

/// Updates f32 moments and a bf16 parameter, all owned.
pub(super) fn update_rounded(tensors: &[Floats; 3], grad: Floats, step: &AdamWStep) {
    let grad = contiguous(grad);
    let [param, first, second] = tensors;
    let Some(Plan { cubes, units, vector }) = Plan::new(&[first.clone(), second.clone()]) else { return };
    rounded_update::launch(
        &param.client,
        cubes,
        units,
        vector,
        param.clone().into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        first.clone().into_buffer_arg(),
        second.clone().into_buffer_arg(),
        Factors::new(step).to_launch(),
        Random::to_launch(step),
        element(&grad),
        element(param),
    );
}

/// Updates moments in 8 bits and a parameter without a rest, all owned.
pub(super) fn update_blocks(param: &Floats, words: &Ints, grad: Floats, step: &AdamWStep) {
    let grad = contiguous(grad);
    let count = param.shape().num_elements();
    if count == 0 {
        return;
    }
    let (cubes, units) = cubes_of(param);
    block_update::launch(
        &param.client,
        cubes,
        units,
        vector(count),
        param.clone().into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        words.clone().into_buffer_arg(),
        Factors::new(step).to_launch(),
        Random::to_launch(step),
        vector(count),
        param.dtype() == DType::BF16,
        element(&grad),
        element(param),
    );
}

#[cube(launch, create_dummy_kernel)]
fn rounded_update<G: Float, P: Float, N: Size>(
    param: &mut [Vector<P, N>],
    grad: &[Vector<G, N>],
    exp_avg: &mut [Vector<f32, N>],
    exp_avg_sq: &mut [Vector<f32, N>],
    factors: Factors,
    random: Random,
    #[define(G)] _grad_dtype: ElemType,
    #[define(P)] _param_dtype: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < param.len() {
        let (value, grad) = (Vector::<f32, N>::cast_from(param[at]), Vector::<f32, N>::cast_from(grad[at]));
        let value = updated::<N>(value, grad, &mut exp_avg[at], &mut exp_avg_sq[at], &factors);
        param[at] = Vector::<P, N>::cast_from(by_chance::<N>(value, at * N::value(), &random));
    }
}

#[cube(launch, create_dummy_kernel)]
fn block_update<G: Float, P: Float, N: Size>(
    param: &mut [Vector<P, N>],
    grad: &[Vector<G, N>],
    words: &mut [i32],
    factors: Factors,
    random: Random,
    #[comptime] vector: usize,
    #[comptime] at_random: bool,
    #[define(G)] _grad_dtype: ElemType,
    #[define(P)] _param_dtype: ElemType,
) {
    let (block, exists) = own_block(words);
    let mut held = widen(words, block, exists);
    let first = block * BLOCK + UNIT_POS as usize * LANES;
    #[unroll]
    for part in 0..comptime!(LANES / vector) {
        let at = first / vector + part;
        if at < param.len() {
            let (value, grad) =
                (Vector::<f32, N>::cast_from(param[at]), Vector::<f32, N>::cast_from(grad[at]));
            let value = updated_held::<N>(value, grad, &mut held, &factors, comptime!(part * vector));
            if comptime!(at_random) {
                param[at] = Vector::<P, N>::cast_from(by_chance::<N>(value, at * N::value(), &random));
            } else {
                param[at] = Vector::<P, N>::cast_from(value);
            }
        }
    }
    pack(words, block, exists, &held, &random);
}
