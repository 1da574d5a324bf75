//! The update with 8-bit moments (one plane per granule, eight elements per unit), and the update
//! with stochastic rounding.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::kernel::{cast, into_contiguous};
use cubecl::calculate_cube_count_elemwise;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::code::GRANULE;
use super::super::{AdamWStep, Factors};
use super::unit::{
    QuantFormat, Random, UNITS, UNITS_PER_GRANULE, UnitMoments, UnitPosition, Words, all_by_chance,
    draws, load, vector_by_chance,
};
use super::{Plan, updated};
use crate::cube::{Floats, Ints, contiguous, element, trimmed};

/// The words, contiguous and not shared; copied if necessary.
pub(super) fn owned_words(words: Ints) -> Ints {
    let words = into_contiguous(cast(words, DType::I32));
    trimmed(if words.can_mut() { words } else { words.copy() })
}

/// Cubes of several granules each; the last ones may have fewer or none.
pub(super) fn cubes_of(tensor: &Floats) -> (CubeCount, CubeDim) {
    let units = CubeDim::new_1d(UNITS as u32);
    let granules = tensor.shape().num_elements().div_ceil(GRANULE);
    (calculate_cube_count_elemwise(&tensor.client, granules * UNITS_PER_GRANULE, units), units)
}

/// Updates f32 moments and a bf16 parameter in place; none of them is shared.
pub(super) fn update_rounded(tensors: &[Floats; 3], grad: Floats, step: &AdamWStep) {
    let grad = contiguous(grad);
    let [param, first, second] = tensors;
    let Some(Plan { cubes, units, vector }) = Plan::new(&[first.clone(), second.clone()]) else {
        return;
    };
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
        vector,
        element(&grad),
        element(param),
    );
}

/// Updates 8-bit moments and a parameter without a rest in place; none of them is shared.
pub(super) fn update_granules(param: &Floats, words: &Ints, grad: Floats, step: &AdamWStep) {
    let grad = contiguous(grad);
    if param.shape().num_elements() == 0 {
        return;
    }
    let ((cubes, units), form) = (cubes_of(param), QuantFormat::of(param));
    granule_update::launch(
        &param.client,
        cubes,
        units,
        form.vector(),
        param.clone().into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        words.clone().into_buffer_arg(),
        Factors::new(step).to_launch(),
        Random::to_launch(step),
        form,
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
    #[comptime] vector: usize,
    #[define(G)] _grad_dtype: ElemType,
    #[define(P)] _param_dtype: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < param.len() {
        let (value, grad) =
            (Vector::<f32, N>::cast_from(param[at]), Vector::<f32, N>::cast_from(grad[at]));
        let value = updated::<N>(value, grad, &mut exp_avg[at], &mut exp_avg_sq[at], &factors);
        param[at] =
            Vector::<P, N>::cast_from(all_by_chance::<N>(value, at * vector, &random, vector));
    }
}

#[cube(launch, create_dummy_kernel)]
fn granule_update<G: Float, P: Float, N: Size>(
    param: &mut [Vector<P, N>],
    grad: &[Vector<G, N>],
    words: &mut [i32],
    factors: Factors,
    random: Random,
    #[comptime] form: QuantFormat,
    #[comptime] at_random: bool,
    #[define(G)] _grad_dtype: ElemType,
    #[define(P)] _param_dtype: ElemType,
) {
    let position = UnitPosition::new(words);
    // All loads are issued before the first value is used.
    let params = load::<P, N>(&*param, &position, form);
    let grads = load::<G, N>(grad, &position, form);
    let mut moments = UnitMoments::widen(&Words::load(words, &position));
    let draws = draws(&random, &position);
    #[unroll]
    for index in 0..comptime!(form.loads()) {
        let start = comptime!(index * form.vector());
        let value = Vector::<f32, N>::cast_from(params[index]);
        let grad = Vector::<f32, N>::cast_from(grads[index]);
        let mut value = moments.update::<N>(value, grad, &factors, start, form);
        if comptime!(at_random) {
            value = vector_by_chance::<N>(value, &draws, start, comptime!(form.vector()));
        }
        let at = position.vector(index, comptime!(form.vector()));
        if at < param.len() {
            param[at] = Vector::<P, N>::cast_from(value);
        }
    }
    moments.pack(words, &position, &draws, form);
}
