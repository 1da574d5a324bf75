//! What a unit does with the moments in 8 bits of its four elements, and what is rounded at random: [`code`](super::super::code) on the
//! device.

use cubecl::prelude::*;

use super::super::code::{
    BLOCK, BLOCK_WORDS, CODE_WORDS, DROPPED, Draws, FIRST, INFINITE, LOWEST_TOP, MAGNITUDE, NORMAL, SECOND,
};
use super::super::{AdamWStep, Factors};
use super::updated;
use crate::cube::mixed;
use crate::hash::STRIDE;

/// Elements of a unit: their codes are a word.
pub(super) const LANES: usize = 4;

/// What the elements of an update draw, as [`Draws`].
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Random {
    start: u32,
    first: u32,
}

impl Random {
    pub(super) fn to_launch(step: &AdamWStep) -> RandomLaunch {
        let Draws { start, first } = Draws::new(step);
        RandomLaunch::new(start, first)
    }
}

/// The random bits of an element.
#[cube]
fn draw(random: &Random, element: usize) -> u32 {
    mixed(random.start + (random.first + u32::cast_from(element)) * STRIDE)
}

/// The 16 bits of a draw that are for the first moment.
#[cube]
fn for_first(draw: u32) -> u32 {
    draw >> 16u32
}

/// The 20 bits that are for the second moment.
#[cube]
fn for_second(draw: u32) -> u32 {
    mixed(draw) >> 12u32
}

/// As [`rounded`](super::super::code::rounded).
#[cube]
fn rounded(bits: u32, random: u32) -> u32 {
    select(bits & MAGNITUDE < INFINITE, bits + random, bits)
}

/// Each value as one of the two bf16 next to it, by chance; the first of them is number `start` of the parameter's part.
#[cube]
pub(super) fn by_chance<N: Size>(values: Vector<f32, N>, start: usize, random: &Random) -> Vector<f32, N> {
    let mut out = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for lane in 0..N::value() {
        let bits = rounded(u32::reinterpret(values.extract(lane)), draw(random, start + lane) & 0xFFFFu32);
        out.insert(lane, f32::reinterpret(bits & 0xFFFF_0000u32));
    }
    out
}

/// The moments of a unit's elements.
#[derive(CubeType)]
pub(super) struct Held {
    first: Array<f32>,
    second: Array<f32>,
}

/// The cube's block, and whether there is one.
#[cube]
pub(super) fn own_block(words: &mut [i32]) -> (usize, bool) {
    let block = CUBE_POS;
    (block, (block + 1) * BLOCK_WORDS <= words.len())
}

/// The moments of this unit's elements of a block, as [`widen`](super::super::code::widen); zeros where there is none.
#[cube]
pub(super) fn widen(words: &mut [i32], block: usize, exists: bool) -> Held {
    let (start, unit) = (block * BLOCK_WORDS, UNIT_POS as usize);
    let mut first_word = 0u32;
    let mut second_word = 0u32;
    let mut tops = 0u32;
    if exists {
        first_word = u32::reinterpret(words[start + unit]);
        second_word = u32::reinterpret(words[start + CODE_WORDS + unit]);
        tops = u32::reinterpret(words[start + 2 * CODE_WORDS]);
    }
    let (below_first, below_second) = ((tops & 0xFFFFu32) - FIRST, (tops >> 16u32) - SECOND);
    let mut held = Held { first: Array::<f32>::new(LANES), second: Array::<f32>::new(LANES) };
    #[unroll]
    for lane in 0..LANES {
        let shift = comptime!(8 * lane as u32);
        let (code, sign) = ((first_word >> shift) & FIRST, ((first_word >> shift) & 0x80u32) << 24u32);
        let bits = select(code == 0u32, 0u32, (below_first + code) << DROPPED | sign);
        held.first[lane] = f32::reinterpret(bits);
        let code = (second_word >> shift) & SECOND;
        held.second[lane] = f32::reinterpret(select(code == 0u32, 0u32, (below_second + code) << DROPPED));
    }
    held
}

/// The new value of a vector of parameters, `lane` of the unit's elements the first of them.
#[cube]
pub(super) fn updated_held<N: Size>(
    value: Vector<f32, N>,
    grad: Vector<f32, N>,
    held: &mut Held,
    factors: &Factors,
    #[comptime] start: usize,
) -> Vector<f32, N> {
    let mut first = Vector::<f32, N>::new(0.0f32);
    let mut second = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for lane in 0..N::value() {
        first.insert(lane, held.first[comptime!(start + lane)]);
        second.insert(lane, held.second[comptime!(start + lane)]);
    }
    let value = updated::<N>(value, grad, &mut first, &mut second, factors);
    #[unroll]
    for lane in 0..N::value() {
        held.first[comptime!(start + lane)] = first.extract(lane);
        held.second[comptime!(start + lane)] = second.extract(lane);
    }
    value
}

/// The larger of two numbers.
#[cube]
fn larger(a: u32, b: u32) -> u32 {
    select(a > b, a, b)
}

/// The largest of what the units of a cube have, of each of two numbers below 2¹⁶, packed into one. Every unit has to call.
#[cube]
fn cube_tops(first: u32, second: u32) -> u32 {
    let unit = UNIT_POS as usize;
    let mut firsts = Shared::<[u32]>::new_slice(CODE_WORDS);
    let mut seconds = Shared::<[u32]>::new_slice(CODE_WORDS);
    firsts[unit] = first;
    seconds[unit] = second;
    sync_cube();
    let mut active = comptime!(CODE_WORDS / 2).runtime();
    while active > 0 {
        if unit < active {
            firsts[unit] = larger(firsts[unit], firsts[unit + active]);
            seconds[unit] = larger(seconds[unit], seconds[unit + active]);
        }
        active /= 2;
        sync_cube();
    }
    firsts[0] | seconds[0] << 16u32
}

/// Stores a block's moments, as [`pack`](super::super::code::pack). Every unit has to call.
#[cube]
pub(super) fn pack(words: &mut [i32], block: usize, exists: bool, held: &Held, random: &Random) {
    let (start, unit) = (block * BLOCK_WORDS, UNIT_POS as usize);
    let element = block * BLOCK + unit * LANES;
    let mut first_top = LOWEST_TOP.runtime();
    let mut second_top = LOWEST_TOP.runtime();
    #[unroll]
    for lane in 0..LANES {
        let draw = draw(random, element + lane);
        let first = rounded(u32::reinterpret(held.first[lane]) & MAGNITUDE, for_first(draw) << 4u32);
        let second = rounded(u32::reinterpret(held.second[lane]) & MAGNITUDE, for_second(draw));
        first_top = larger(first_top, first >> DROPPED);
        second_top = larger(second_top, second >> DROPPED);
    }
    let tops = cube_tops(first_top, second_top);
    let (below_first, below_second) = ((tops & 0xFFFFu32) - FIRST, (tops >> 16u32) - SECOND);
    let mut first_word = 0u32;
    let mut second_word = 0u32;
    #[unroll]
    for lane in 0..LANES {
        let (draw, shift) = (draw(random, element + lane), comptime!(8 * lane as u32));
        first_word |= first_code(held.first[lane], for_first(draw), below_first) << shift;
        second_word |= second_code(held.second[lane], for_second(draw), below_second) << shift;
    }
    if exists {
        words[start + unit] = i32::reinterpret(first_word);
        words[start + CODE_WORDS + unit] = i32::reinterpret(second_word);
        if unit == 0 {
            words[start + 2 * CODE_WORDS] = i32::reinterpret(tops);
        }
    }
}

/// The code of a first moment, as [`first_code`](super::super::code).
#[cube]
fn first_code(value: f32, random: u32, below: u32) -> u32 {
    let bits = u32::reinterpret(value);
    let magnitude = bits & MAGNITUDE;
    let share = f32::cast_from(random) * comptime!(1.0f32 / 65_536.0);
    let last = f32::reinterpret((below + 1u32) << DROPPED) * share;
    let is_last = magnitude >> DROPPED >= NORMAL && f32::reinterpret(magnitude) > last;
    let counted = (rounded(magnitude, random << 4u32) >> DROPPED) - below;
    let code = select(magnitude >> DROPPED <= below, select(is_last, 1u32, 0u32), counted);
    select(code == 0u32, 0u32, code | ((bits >> 31u32) << 7u32))
}

/// The code of a second moment, as [`second_code`](super::super::code).
#[cube]
fn second_code(value: f32, random: u32, below: u32) -> u32 {
    let bits = u32::reinterpret(value);
    let index = rounded(bits, random) >> DROPPED;
    select(bits >> DROPPED < NORMAL, 0u32, larger(index, below + 1u32) - below)
}
