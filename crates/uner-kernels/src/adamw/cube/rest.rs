//! The device side of [`rest`](super::super::rest): the update of a parameter with a rest, with
//! four elements per unit, or eight if the moments have 8 bits.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::code::{INFINITE, MAGNITUDE};
use super::super::rest::{SMALLEST, TIE, UNIT, UNIT_WORDS, UPPER, num_words};
use super::super::{AdamWStep, Factors};
use super::granules::cubes_of;
use super::unit::{
    LANES, QUADS, QuantFormat, Random, UnitMoments, UnitPosition, Words, draws, load,
};
use super::updated;
use crate::cube::{Floats, Ints, contiguous, element, elementwise, empty, trimmed};

const _: () = assert!(UNIT == LANES, "rests are grouped like the codes of a word");

/// Elements per load: `UNIT` if that divides the number of elements, else one.
fn vector(elements: usize) -> usize {
    if elements.is_multiple_of(UNIT) { UNIT } else { 1 }
}

/// Splits a value into a parameter of type `dtype` and its rests.
pub(super) fn part(value: Floats, dtype: DType) -> (Floats, Ints) {
    let value = contiguous(value);
    let count = value.shape().num_elements();
    let param = empty(&value, value.shape(), dtype);
    let rest = trimmed(empty(&value, [num_words(count)], DType::I32));
    if count > 0 {
        let (cubes, units) = elementwise(count.div_ceil(UNIT), &value.client);
        part_value::launch(
            &value.client,
            cubes,
            units,
            vector(count),
            UNIT_WORDS,
            value.clone().into_buffer_arg(),
            param.clone().into_buffer_arg(),
            rest.clone().into_buffer_arg(),
            vector(count),
            element(&param),
        );
    }
    (param, rest)
}

/// Updates f32 moments and a parameter with a rest in place; none of them is shared.
pub(super) fn update(
    param: &Floats,
    rest: &Ints,
    grad: Floats,
    moments: [&Floats; 2],
    step: &AdamWStep,
) {
    let (grad, count) = (contiguous(grad), param.shape().num_elements());
    if count == 0 {
        return;
    }
    let types = moments.map(TensorMetadata::dtype);
    assert_eq!(types, [DType::F32; 2], "moments are f32");
    let (cubes, units) = elementwise(count.div_ceil(UNIT), &param.client);
    let [first, second] = moments;
    update_with_rest::launch(
        &param.client,
        cubes,
        units,
        vector(count),
        UNIT_WORDS,
        param.clone().into_buffer_arg(),
        rest.clone().into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        first.clone().into_buffer_arg(),
        second.clone().into_buffer_arg(),
        Factors::new(step).to_launch(),
        vector(count),
        element(&grad),
        element(param),
    );
}

/// Updates 8-bit moments and a parameter with a rest in place; none of them is shared.
pub(super) fn update_granules(
    param: &Floats,
    rest: &Ints,
    words: &Ints,
    grad: Floats,
    step: &AdamWStep,
) {
    let grad = contiguous(grad);
    if param.shape().num_elements() == 0 {
        return;
    }
    let ((cubes, units), form) = (cubes_of(param), QuantFormat::of(param));
    granule_update_with_rest::launch(
        &param.client,
        cubes,
        units,
        form.vector(),
        UNIT_WORDS,
        param.clone().into_buffer_arg(),
        rest.clone().into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        words.clone().into_buffer_arg(),
        Factors::new(step).to_launch(),
        Random::to_launch(step),
        form,
        element(&grad),
        element(param),
    );
}

/// Splits the bits of a value: returns those of its bf16, and the rest in the lower 16 bits.
#[cube]
fn parted(bits: u32) -> (u32, u32) {
    let magnitude = bits & MAGNITUDE;
    let is_normal = magnitude >= SMALLEST && magnitude < INFINITE;
    let nearest = bits + 0x7FFFu32 + ((bits >> 16u32) & 1u32);
    let other = select(magnitude < SMALLEST, bits ^ magnitude, bits);
    let upper = select(is_normal, nearest, other) & UPPER;
    let difference = select(is_normal, bits - upper, 0u32);
    (upper, select(difference == TIE, TIE - 1u32, difference & 0xFFFFu32))
}

/// The values of some elements of a unit; `start` is the index of the first.
#[cube]
fn joined<P: Float, N: Size, W: Size>(
    param: Vector<P, N>,
    rest: Vector<i32, W>,
    #[comptime] start: usize,
) -> Vector<f32, N> {
    let upper = Vector::<f32, N>::cast_from(param);
    let mut value = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for lane in 0..N::value() {
        let word = rest.extract(comptime!((start + lane) >> 1));
        // The lower half is shifted up first, so that the shift down extends its sign.
        let up = if comptime!((start + lane) % 2 == 0) { word << 16i32 } else { word };
        let bits = u32::reinterpret(upper.extract(lane)) + u32::reinterpret(up >> 16i32);
        value.insert(lane, f32::reinterpret(bits));
    }
    value
}

/// Splits values: writes their rests into a unit's words, which must be 0 there, and returns the
/// values rounded to bf16.
#[cube]
fn part_into<N: Size, W: Size>(
    value: Vector<f32, N>,
    rest: &mut Vector<i32, W>,
    #[comptime] start: usize,
) -> Vector<f32, N> {
    let mut rounded = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for lane in 0..N::value() {
        let (upper, lower) = parted(u32::reinterpret(value.extract(lane)));
        rounded.insert(lane, f32::reinterpret(upper));
        let word = comptime!((start + lane) >> 1);
        let before = u32::reinterpret(rest.extract(word));
        let packed = before | lower << comptime!(16 * ((start + lane) % 2) as u32);
        rest.insert(word, i32::reinterpret(packed));
    }
    rounded
}

#[cube(launch, create_dummy_kernel)]
fn part_value<P: Float, N: Size, W: Size>(
    value: &[Vector<f32, N>],
    param: &mut [Vector<P, N>],
    rest: &mut [Vector<i32, W>],
    #[comptime] vector: usize,
    #[define(P)] _param_dtype: ElemType,
) {
    let unit = ABSOLUTE_POS;
    if unit < rest.len() {
        let mut after = Vector::<i32, W>::new(0i32);
        #[unroll]
        for part in 0..comptime!(UNIT / vector) {
            let at = unit * comptime!(UNIT / vector) + part;
            if at < value.len() {
                let rounded = part_into::<N, W>(value[at], &mut after, comptime!(part * vector));
                param[at] = Vector::<P, N>::cast_from(rounded);
            }
        }
        rest[unit] = after;
    }
}

#[cube(launch, create_dummy_kernel)]
fn update_with_rest<G: Float, P: Float, N: Size, W: Size>(
    param: &mut [Vector<P, N>],
    rest: &mut [Vector<i32, W>],
    grad: &[Vector<G, N>],
    exp_avg: &mut [Vector<f32, N>],
    exp_avg_sq: &mut [Vector<f32, N>],
    factors: Factors,
    #[comptime] vector: usize,
    #[define(G)] _grad_dtype: ElemType,
    #[define(P)] _param_dtype: ElemType,
) {
    let unit = ABSOLUTE_POS;
    if unit < rest.len() {
        let before = rest[unit];
        let mut after = Vector::<i32, W>::new(0i32);
        #[unroll]
        for part in 0..comptime!(UNIT / vector) {
            let at = unit * comptime!(UNIT / vector) + part;
            if at < param.len() {
                let start = comptime!(part * vector);
                let value = joined::<P, N, W>(param[at], before, start);
                let grad = Vector::<f32, N>::cast_from(grad[at]);
                let value =
                    updated::<N>(value, grad, &mut exp_avg[at], &mut exp_avg_sq[at], &factors);
                param[at] = Vector::<P, N>::cast_from(part_into::<N, W>(value, &mut after, start));
            }
        }
        rest[unit] = after;
    }
}

/// The rests of a unit's elements in a granule, zero behind the last. They are stored in the same
/// groups of four as the codes.
#[cube]
fn load_rests<W: Size>(rest: &[Vector<i32, W>], position: &UnitPosition) -> Array<Vector<i32, W>> {
    let mut rests = Array::<Vector<i32, W>>::new(QUADS);
    #[unroll]
    for quad in 0..QUADS {
        rests[quad] = Vector::<i32, W>::new(0i32);
        let at = position.vector(quad, comptime!(UNIT));
        if at < rest.len() {
            rests[quad] = rest[at];
        }
    }
    rests
}

/// As [`granule_update`](super::granules), for a parameter with a rest.
#[cube(launch, create_dummy_kernel)]
fn granule_update_with_rest<G: Float, P: Float, N: Size, W: Size>(
    param: &mut [Vector<P, N>],
    rest: &mut [Vector<i32, W>],
    grad: &[Vector<G, N>],
    words: &mut [i32],
    factors: Factors,
    random: Random,
    #[comptime] form: QuantFormat,
    #[define(G)] _grad_dtype: ElemType,
    #[define(P)] _param_dtype: ElemType,
) {
    let position = UnitPosition::new(words);
    let params = load::<P, N>(&*param, &position, form);
    let rests = load_rests::<W>(&*rest, &position);
    let grads = load::<G, N>(grad, &position, form);
    let mut moments = UnitMoments::widen(&Words::load(words, &position));
    let draws = draws(&random, &position);
    #[unroll]
    for quad in 0..QUADS {
        let mut after = Vector::<i32, W>::new(0i32);
        #[unroll]
        for part in 0..comptime!(UNIT / form.vector()) {
            let start = comptime!(part * form.vector());
            let index = comptime!(quad * UNIT / form.vector() + part);
            let value = joined::<P, N, W>(params[index], rests[quad], start);
            let grad = Vector::<f32, N>::cast_from(grads[index]);
            let value =
                moments.update::<N>(value, grad, &factors, comptime!(quad * UNIT + start), form);
            let rounded = part_into::<N, W>(value, &mut after, start);
            let at = position.vector(index, comptime!(form.vector()));
            if at < param.len() {
                param[at] = Vector::<P, N>::cast_from(rounded);
            }
        }
        let at = position.vector(quad, comptime!(UNIT));
        if at < rest.len() {
            rest[at] = after;
        }
    }
    moments.pack(words, &position, &draws, form);
}
