//! The device side of [`code`](super::super::code): one unit's elements with 8-bit moments, and
//! stochastic rounding.
//!
//! Memory is fast enough for about forty integer instructions per element, so their number decides
//! the speed. Therefore four elements share a hash. Numbers too small for a granule's codes are
//! rare, so only units that have one handle them.

use burn::backend::TensorMetadata;
use cubecl::prelude::*;

use super::super::code::{
    CODE_WORDS, DROPPED, Draws, ELEMENTS_PER_HASH, FIRST, GRANULE, GRANULE_WORDS, INFINITE, LEAPS,
    LOWEST_TOP, MAGNITUDE, MULTIPLIER, NORMAL, SECOND,
};
use super::super::{AdamWStep, Factors};
use super::{updated, updated_nearly};
use crate::cube::{Floats, has_ptx, mixed, plane_size};
use crate::hash::STRIDE;

/// Elements whose codes fill a word. They share a hash, too.
pub(super) const LANES: usize = ELEMENTS_PER_HASH;
/// Words of each moment per unit. They lie half a granule apart, so that neighbouring units access
/// neighbouring words.
pub(super) const QUADS: usize = 2;
/// Elements per unit.
pub(super) const ELEMENTS: usize = QUADS * LANES;
/// Units per granule: a plane of NVIDIA's cards.
pub(super) const UNITS_PER_GRANULE: usize = GRANULE / ELEMENTS;
/// Units per cube.
pub(super) const UNITS: usize = 256;

/// Compile-time parameters of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct QuantFormat {
    /// Elements per load: `LANES` if that divides the number of elements, else one.
    vector: usize,
    /// Units per plane.
    plane: usize,
    has_ptx: bool,
}

impl QuantFormat {
    /// The form for a parameter.
    pub(super) fn of(param: &Floats) -> Self {
        let count = param.shape().num_elements();
        let vector = if count.is_multiple_of(LANES) { LANES } else { 1 };
        Self { vector, plane: plane_size(&param.client), has_ptx: has_ptx(param) }
    }

    /// Elements per load.
    pub(super) fn vector(self) -> usize {
        self.vector
    }

    /// Loads per unit.
    pub(super) fn loads(self) -> usize {
        ELEMENTS / self.vector
    }
}

/// The random numbers of an update's elements, as [`Draws`].
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

/// The hash that an element shares with its neighbours.
#[cube]
fn hash(random: &Random, element: usize) -> u32 {
    mixed(
        random.start
            + (random.first + u32::cast_from(element)) / comptime!(ELEMENTS_PER_HASH as u32)
                * STRIDE,
    )
}

/// The random number of the element `lane` elements behind one whose index is a multiple of four.
#[cube]
fn draw_of_lane(hash: u32, #[comptime] lane: usize) -> u32 {
    hash * comptime!(LEAPS[lane])
}

/// The random number of an element.
#[cube]
fn draw(random: &Random, element: usize) -> u32 {
    let lane = (random.first + u32::cast_from(element)) % comptime!(ELEMENTS_PER_HASH as u32);
    let mut leap = comptime!(LEAPS[0]).runtime();
    #[unroll]
    for other in 1..LANES {
        leap = select(lane == comptime!(other as u32), comptime!(LEAPS[other]).runtime(), leap);
    }
    hash(random, element) * leap
}

/// The 20 bits of a draw for the first moment.
#[cube]
fn for_first(draw: u32) -> u32 {
    (draw * MULTIPLIER) >> 12u32
}

/// The 20 bits of a draw for the second moment.
#[cube]
fn for_second(draw: u32) -> u32 {
    (draw * comptime!(MULTIPLIER.wrapping_mul(MULTIPLIER))) >> 12u32
}

/// Rounds a value stochastically to one of its two bf16 neighbours.
#[cube]
fn by_chance(value: f32, draw: u32) -> f32 {
    let bits = u32::reinterpret(value);
    let bits = select(bits & MAGNITUDE < INFINITE, bits + (draw >> 16u32), bits);
    f32::reinterpret(bits & 0xFFFF_0000u32)
}

/// Rounds each value stochastically to bf16; `start` is the index of the first one in the
/// parameter's shard.
#[cube]
pub(super) fn all_by_chance<N: Size>(
    values: Vector<f32, N>,
    start: usize,
    random: &Random,
    #[comptime] vector: usize,
) -> Vector<f32, N> {
    let mut out = Vector::<f32, N>::new(0.0f32);
    let shared = hash(random, start);
    #[unroll]
    for lane in 0..vector {
        if comptime!(vector == LANES) {
            out.insert(lane, by_chance(values.extract(lane), draw_of_lane(shared, lane)));
        } else {
            out.insert(lane, by_chance(values.extract(lane), draw(random, start + lane)));
        }
    }
    out
}

/// The position of a unit's elements.
#[derive(CubeType)]
pub(super) struct UnitPosition {
    granule: usize,
    /// Index of the unit in the granule.
    unit: usize,
    /// Whether the granule exists.
    exists: bool,
}

#[cube]
impl UnitPosition {
    pub(super) fn new(words: &mut [i32]) -> Self {
        let granule =
            CUBE_POS * comptime!(UNITS / UNITS_PER_GRANULE) + UNIT_POS as usize / UNITS_PER_GRANULE;
        let exists = (granule + 1) * GRANULE_WORDS <= words.len();
        UnitPosition { granule, unit: UNIT_POS as usize % UNITS_PER_GRANULE, exists }
    }

    /// Index of the first element of a word.
    fn element(&self, #[comptime] quad: usize) -> usize {
        self.granule * GRANULE + comptime!(quad * GRANULE / QUADS) + self.unit * LANES
    }

    /// Index of one of the unit's `ELEMENTS / vector` vectors.
    pub(super) fn vector(&self, #[comptime] index: usize, #[comptime] vector: usize) -> usize {
        let parts = comptime!(LANES / vector);
        self.element(comptime!(index / parts)) / vector + comptime!(index % parts)
    }

    /// Index of a word of the first moments.
    fn word(&self, #[comptime] quad: usize) -> usize {
        self.granule * GRANULE_WORDS + comptime!(quad * UNITS_PER_GRANULE) + self.unit
    }
}

/// Loads the vectors of a unit, zero behind the last element.
#[cube]
pub(super) fn load<F: Float, N: Size>(
    from: &[Vector<F, N>],
    position: &UnitPosition,
    #[comptime] form: QuantFormat,
) -> Array<Vector<F, N>> {
    let mut values = Array::<Vector<F, N>>::new(comptime!(form.loads()));
    #[unroll]
    for index in 0..comptime!(form.loads()) {
        values[index] = Vector::<F, N>::new(F::from_int(0));
        let at = position.vector(index, form.vector);
        if at < from.len() {
            values[index] = from[at];
        }
    }
    values
}

/// The random numbers of a unit's elements.
#[cube]
pub(super) fn draws(random: &Random, position: &UnitPosition) -> Array<u32> {
    let mut draws = Array::<u32>::new(ELEMENTS);
    #[unroll]
    for quad in 0..QUADS {
        let hash = hash(random, position.element(quad));
        #[unroll]
        for lane in 0..LANES {
            draws[comptime!(quad * LANES + lane)] = draw_of_lane(hash, lane);
        }
    }
    draws
}

/// Rounds each value of a unit's vector stochastically to bf16; `start` is the index of the first
/// one among the unit's elements.
#[cube]
pub(super) fn vector_by_chance<N: Size>(
    values: Vector<f32, N>,
    draws: &Array<u32>,
    #[comptime] start: usize,
    #[comptime] vector: usize,
) -> Vector<f32, N> {
    let mut out = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for lane in 0..vector {
        out.insert(lane, by_chance(values.extract(lane), draws[comptime!(start + lane)]));
    }
    out
}

/// A unit's words of a granule, as they are stored.
#[derive(CubeType)]
pub(super) struct Words {
    first: Array<u32>,
    second: Array<u32>,
    tops: u32,
}

#[cube]
impl Words {
    /// Loads the words; zeros if the granule does not exist.
    pub(super) fn load(words: &mut [i32], position: &UnitPosition) -> Self {
        let mut first = Array::<u32>::new(QUADS);
        let mut second = Array::<u32>::new(QUADS);
        let mut tops = 0u32;
        #[unroll]
        for quad in 0..QUADS {
            first[quad] = 0u32;
            second[quad] = 0u32;
            if position.exists {
                first[quad] = u32::reinterpret(words[position.word(quad)]);
                second[quad] = u32::reinterpret(words[position.word(quad) + CODE_WORDS]);
            }
        }
        if position.exists {
            tops = u32::reinterpret(
                words[position.granule * GRANULE_WORDS + comptime!(2 * CODE_WORDS)],
            );
        }
        Words { first, second, tops }
    }

    fn store(&self, words: &mut [i32], position: &UnitPosition) {
        if position.exists {
            #[unroll]
            for quad in 0..QUADS {
                words[position.word(quad)] = i32::reinterpret(self.first[quad]);
                words[position.word(quad) + CODE_WORDS] = i32::reinterpret(self.second[quad]);
            }
            if position.unit == 0 {
                words[position.granule * GRANULE_WORDS + comptime!(2 * CODE_WORDS)] =
                    i32::reinterpret(self.tops);
            }
        }
    }

    /// The levels that code 0 would have.
    fn below(&self) -> (u32, u32) {
        ((self.tops & 0xFFFFu32) - FIRST, (self.tops >> 16u32) - SECOND)
    }
}

/// The moments of a unit's elements.
#[derive(CubeType)]
pub(super) struct UnitMoments {
    first: Array<f32>,
    second: Array<f32>,
}

#[cube]
impl UnitMoments {
    /// As [`widen`](super::super::code::widen).
    pub(super) fn widen(words: &Words) -> Self {
        let (below_first, below_second) = words.below();
        let mut first = Array::<f32>::new(ELEMENTS);
        let mut second = Array::<f32>::new(ELEMENTS);
        #[unroll]
        for quad in 0..QUADS {
            let (firsts, seconds) = (words.first[quad], words.second[quad]);
            #[unroll]
            for lane in 0..LANES {
                let shift = comptime!(8 * lane as u32);
                let (code, sign) =
                    ((firsts >> shift) & FIRST, (firsts << comptime!(24 - shift)) & 0x8000_0000u32);
                let bits = select(code == 0u32, 0u32, (below_first + code) << DROPPED | sign);
                first[comptime!(quad * LANES + lane)] = f32::reinterpret(bits);
                let code = (seconds >> shift) & SECOND;
                let bits = select(code == 0u32, 0u32, (below_second + code) << DROPPED);
                second[comptime!(quad * LANES + lane)] = f32::reinterpret(bits);
            }
        }
        UnitMoments { first, second }
    }

    /// Updates the moments and returns the new parameters of a vector; `start` is the index of the
    /// first among the unit's elements.
    pub(super) fn update<N: Size>(
        &mut self,
        value: Vector<f32, N>,
        grad: Vector<f32, N>,
        factors: &Factors,
        #[comptime] start: usize,
        #[comptime] form: QuantFormat,
    ) -> Vector<f32, N> {
        let vector = comptime!(form.vector);
        let mut first = Vector::<f32, N>::new(0.0f32);
        let mut second = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for lane in 0..vector {
            first.insert(lane, self.first[comptime!(start + lane)]);
            second.insert(lane, self.second[comptime!(start + lane)]);
        }
        let mut value = value;
        if comptime!(form.has_ptx) {
            value = updated_nearly::<N>(value, grad, &mut first, &mut second, factors);
        } else {
            value = updated::<N>(value, grad, &mut first, &mut second, factors);
        }
        #[unroll]
        for lane in 0..vector {
            self.first[comptime!(start + lane)] = first.extract(lane);
            self.second[comptime!(start + lane)] = second.extract(lane);
        }
        value
    }

    /// Stores a granule's moments, as [`pack`](super::super::code::pack). Every unit must call it.
    pub(super) fn pack(
        &self,
        words: &mut [i32],
        position: &UnitPosition,
        draws: &Array<u32>,
        #[comptime] form: QuantFormat,
    ) {
        let mut firsts = Array::<u32>::new(ELEMENTS);
        let mut seconds = Array::<u32>::new(ELEMENTS);
        let mut first_top = comptime!(LOWEST_TOP << DROPPED).runtime();
        let mut second_top = comptime!(LOWEST_TOP << DROPPED).runtime();
        let mut first_least = INFINITE.runtime();
        let mut second_least = INFINITE.runtime();
        #[unroll]
        for element in 0..ELEMENTS {
            let (first, second) = (magnitude(self.first[element]), magnitude(self.second[element]));
            first_least = smaller(first_least, first);
            second_least = smaller(second_least, second);
            firsts[element] = first + for_first(draws[element]);
            seconds[element] = second + for_second(draws[element]);
            first_top = larger(first_top, firsts[element]);
            second_top = larger(second_top, seconds[element]);
        }
        let tops =
            granule_tops(first_top >> DROPPED, second_top >> DROPPED, position.unit, form.plane);
        let mut stored =
            Words { first: Array::<u32>::new(QUADS), second: Array::<u32>::new(QUADS), tops };
        let (below_first, below_second) = stored.below();
        #[unroll]
        for quad in 0..QUADS {
            let mut first = 0u32;
            let mut second = 0u32;
            #[unroll]
            for lane in 0..LANES {
                let (element, shift) = (comptime!(quad * LANES + lane), comptime!(8 * lane as u32));
                let sign = u32::reinterpret(self.first[element]) >> 31u32;
                first += (((firsts[element] >> DROPPED) - below_first) << shift)
                    + (sign << comptime!(shift + 7));
                second += ((seconds[element] >> DROPPED) - below_second) << shift;
            }
            stored.first[quad] = first;
            stored.second[quad] = second;
        }
        if first_least >> DROPPED <= below_first || second_least >> DROPPED <= below_second {
            self.pack_small(&mut stored, draws);
        }
        stored.store(words, position);
    }

    /// Computes the codes again if some of the numbers may be too small for one.
    fn pack_small(&self, stored: &mut Words, draws: &Array<u32>) {
        let (below_first, below_second) = stored.below();
        #[unroll]
        for quad in 0..QUADS {
            let mut first = 0u32;
            let mut second = 0u32;
            #[unroll]
            for lane in 0..LANES {
                let (element, shift) = (comptime!(quad * LANES + lane), comptime!(8 * lane as u32));
                let draw = draws[element];
                first |= first_code(self.first[element], for_first(draw), below_first) << shift;
                second |=
                    second_code(self.second[element], for_second(draw), below_second) << shift;
            }
            stored.first[quad] = first;
            stored.second[quad] = second;
        }
    }
}

/// As [`magnitude`](super::super::code::magnitude).
#[cube]
fn magnitude(value: f32) -> u32 {
    smaller(u32::reinterpret(value) & MAGNITUDE, INFINITE)
}

/// The larger of two numbers.
#[cube]
fn larger(a: u32, b: u32) -> u32 {
    select(a > b, a, b)
}

/// The smaller of two numbers.
#[cube]
fn smaller(a: u32, b: u32) -> u32 {
    select(a < b, a, b)
}

/// The maximum over a granule's units of each of two numbers below 2¹⁶, packed into one word. Every
/// unit must call it.
#[cube]
fn granule_tops(first: u32, second: u32, unit: usize, #[comptime] plane: usize) -> u32 {
    let mut first = first;
    let mut second = second;
    if comptime!(plane == UNITS_PER_GRANULE) {
        #[unroll]
        for step in 0..comptime!(UNITS_PER_GRANULE.ilog2()) {
            first = larger(first, plane_shuffle_xor(first, comptime!(1u32 << step)));
            second = larger(second, plane_shuffle_xor(second, comptime!(1u32 << step)));
        }
    } else {
        let (own, start) = (UNIT_POS as usize, UNIT_POS as usize - unit);
        let mut firsts = Shared::<[u32]>::new_slice(UNITS);
        let mut seconds = Shared::<[u32]>::new_slice(UNITS);
        firsts[own] = first;
        seconds[own] = second;
        sync_cube();
        let mut active = comptime!(UNITS_PER_GRANULE / 2).runtime();
        while active > 0 {
            if unit < active {
                firsts[own] = larger(firsts[own], firsts[own + active]);
                seconds[own] = larger(seconds[own], seconds[own + active]);
            }
            active /= 2;
            sync_cube();
        }
        first = firsts[start];
        second = seconds[start];
    }
    first | second << 16u32
}

/// The code of a first moment, as [`first_code`](super::super::code).
#[cube]
fn first_code(value: f32, random: u32, below: u32) -> u32 {
    let magnitude = magnitude(value);
    let fraction = f32::cast_from(random) * comptime!(1.0f32 / 1_048_576.0);
    let last = f32::reinterpret((below + 1u32) << DROPPED) * fraction;
    let is_last = magnitude >> DROPPED >= NORMAL && f32::reinterpret(magnitude) > last;
    let counted = ((magnitude + random) >> DROPPED) - below;
    let code = select(magnitude >> DROPPED <= below, select(is_last, 1u32, 0u32), counted);
    select(code == 0u32, 0u32, code | ((u32::reinterpret(value) >> 31u32) << 7u32))
}

/// The code of a second moment, as [`second_code`](super::super::code).
#[cube]
fn second_code(value: f32, random: u32, below: u32) -> u32 {
    let magnitude = magnitude(value);
    let level = (magnitude + random) >> DROPPED;
    select(magnitude >> DROPPED < NORMAL, 0u32, larger(level, below + 1u32) - below)
}
