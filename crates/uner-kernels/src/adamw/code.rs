//! 8-bit storage of Adam's moments, with stochastic rounding.
//!
//! A magnitude is reduced to its *level*, the upper bits of its f32: 8 of exponent, 3 of mantissa.
//! Each granule of 256 elements has one *top* per moment, the largest level in it. A code counts
//! down from the top: 127 (first moment) or 255 (second) is the top, each smaller code is the next
//! smaller level (8 of them halve the number), and 0 is zero. The 127 codes of a first moment,
//! beside its sign, reach down to 2⁻¹⁶ of the granule's largest value. The 255 codes of a second
//! moment reach down to 2⁻³², whose root is 2⁻¹⁶ too.
//!
//! Unlike with one scale per block (Dettmers et al. 2022, "8-bit Optimizers via Block-wise
//! Quantization"), the storable numbers do not move with the granule's largest value. An unchanged
//! value is thus stored exactly as before. Rounding is stochastic, so that the expectation is
//! exact: a second moment that changes by a thousandth is mostly stored as before and sometimes as
//! its neighbour. Rounded to nearest, second moments would never decay.
//!
//! A second moment that is not zero never becomes zero, because updates are divided by its root:
//! below the last code it becomes the last code. A first moment below the last code becomes zero or
//! the last code, stochastically. Numbers below 2⁻¹²⁶ become zero.

use super::AdamWStep;
use crate::hash::{mix, nth};

/// Elements that share a top (a granule).
pub const GRANULE: usize = 256;
/// Words of 32 bits per granule: first the codes of the first moments, four to a word, then the
/// codes of the second, then one word of both tops, the first moments' in the lower half.
pub const GRANULE_WORDS: usize = 2 * CODE_WORDS + 1;

/// Words of one moment's codes in a granule.
pub(super) const CODE_WORDS: usize = GRANULE / 4;
/// The largest code of a first moment.
pub(super) const FIRST: u32 = 127;
/// The largest code of a second moment.
pub(super) const SECOND: u32 = 255;
/// Bits of an f32 that its level drops.
pub(super) const DROPPED: u32 = 20;
/// The level of the smallest normal number.
pub(super) const NORMAL: u32 = 8;
/// Smallest top, so that every code is a normal number.
pub(super) const LOWEST_TOP: u32 = NORMAL + SECOND;
/// The bits of infinity.
pub(super) const INFINITE: u32 = 0x7F80_0000;
/// Mask of all bits but the sign.
pub(super) const MAGNITUDE: u32 = 0x7FFF_FFFF;

/// Neighbouring elements that share a hash.
pub(super) const ELEMENTS_PER_HASH: usize = 4;
/// From its hash each element draws three numbers of a multiplicative congruential generator modulo
/// 2³² (L'Ecuyer 1999, "Tables of Linear Congruential Generators of Different Sizes and Good
/// Lattice Structure"). Only their upper bits are used.
pub(super) const MULTIPLIER: u32 = 2_891_336_453;
/// Multiplier from the shared hash to the first number of each element.
pub(super) const LEAPS: [u32; ELEMENTS_PER_HASH] = [1, leap(3), leap(6), leap(9)];

/// Multiplier of the generator for `steps` steps.
const fn leap(steps: u32) -> u32 {
    MULTIPLIER.wrapping_pow(steps)
}

/// Number of words for the moments of `elements` elements. The last granule is stored whole.
pub fn num_words(elements: usize) -> usize {
    elements.div_ceil(GRANULE) * GRANULE_WORDS
}

/// Reads both moments of `elements` elements from their words.
///
/// # Panics
/// When there are not [`num_words`] words.
pub fn moments(words: &[i32], elements: usize) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(words.len(), num_words(elements), "words of {elements} elements");
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for words in words.chunks_exact(GRANULE_WORDS) {
        let (mut m, mut v) = ([0.0; GRANULE], [0.0; GRANULE]);
        widen(words, &mut m, &mut v);
        first.extend(m);
        second.extend(v);
    }
    first.truncate(elements);
    second.truncate(elements);
    (first, second)
}

/// The random numbers of one update's elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    /// Hash of the parameter's key and the step.
    pub(super) start: u32,
    /// Index of the first element within the parameter.
    pub(super) first: u32,
}

impl Draws {
    pub(super) fn new(step: &AdamWStep) -> Self {
        Self { start: mix(step.key ^ mix(step.step as u32)), first: step.first as u32 }
    }

    /// The same numbers, counted from element `count` on.
    #[inline(always)]
    pub(super) fn skip(self, count: usize) -> Self {
        Self { first: self.first.wrapping_add(count as u32), ..self }
    }

    /// The random bits of an element.
    #[inline(always)]
    pub(super) fn of(self, element: u32) -> Draw {
        let index = self.first.wrapping_add(element);
        // Selected, not read from a table, so that the compiler uses vector instructions.
        let odd = if index & 1 == 0 { 1 } else { LEAPS[1] };
        let upper = if index & 2 == 0 { 1 } else { LEAPS[2] };
        Draw(
            nth(self.start, index / ELEMENTS_PER_HASH as u32).wrapping_mul(odd).wrapping_mul(upper),
        )
    }
}

/// The random bits of an element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw(u32);

impl Draw {
    /// 16 bits to round its value.
    #[inline(always)]
    pub(super) fn value(self) -> u32 {
        self.0 >> 16
    }

    /// 20 bits to round its first moment.
    #[inline(always)]
    pub(super) fn first(self) -> u32 {
        self.0.wrapping_mul(leap(1)) >> 12
    }

    /// 20 bits to round its second moment.
    #[inline(always)]
    pub(super) fn second(self) -> u32 {
        self.0.wrapping_mul(leap(2)) >> 12
    }
}

/// The bits of a number without its sign. NaN becomes infinity, so that added random bits do not
/// change its level.
#[inline(always)]
pub(super) fn magnitude(bits: u32) -> u32 {
    (bits & MAGNITUDE).min(INFINITE)
}

/// Stochastic rounding: adds random bits below the cut, so that truncation picks a neighbour with
/// probability proportional to its closeness. The caller truncates. Infinities and NaN are
/// unchanged.
#[inline(always)]
pub(super) fn rounded(bits: u32, random: u32) -> u32 {
    if bits & MAGNITUDE < INFINITE { bits + random } else { bits }
}

/// Unpacks both moments of a granule. Here and in [`pack`] each loop does one thing to all 256
/// elements, so that the compiler uses vector instructions.
#[inline(always)]
pub(super) fn widen(words: &[i32], first: &mut [f32; GRANULE], second: &mut [f32; GRANULE]) {
    let (codes, tops) = words.split_at(2 * CODE_WORDS);
    let (below_first, below_second) = below(tops[0] as u32);
    let (first_codes, second_codes) = codes.split_at(CODE_WORDS);
    for (value, code) in first.iter_mut().zip(unpacked(first_codes)) {
        let (code, sign) = (code & FIRST, code >> 7 << 31);
        let bits = below_first.wrapping_add(code) << DROPPED | sign;
        *value = f32::from_bits(if code == 0 { 0 } else { bits });
    }
    for (value, code) in second.iter_mut().zip(unpacked(second_codes)) {
        let bits = below_second.wrapping_add(code) << DROPPED;
        *value = f32::from_bits(if code == 0 { 0 } else { bits });
    }
}

/// Unpacks the codes of one moment.
#[inline(always)]
fn unpacked(words: &[i32]) -> [u32; GRANULE] {
    let mut codes = [0; GRANULE];
    for (codes, word) in codes.chunks_exact_mut(4).zip(words) {
        for (code, byte) in codes.iter_mut().zip(word.to_le_bytes()) {
            *code = u32::from(byte);
        }
    }
    codes
}

/// Packs the codes of one moment.
#[inline(always)]
fn pack_codes(words: &mut [i32], codes: &[u32; GRANULE]) {
    for (word, codes) in words.iter_mut().zip(codes.chunks_exact(4)) {
        *word = (codes[0] | codes[1] << 8 | codes[2] << 16 | codes[3] << 24) as i32;
    }
}

/// The levels that code 0 would have, from a granule's tops (both 0 if it was never written).
#[inline(always)]
fn below(tops: u32) -> (u32, u32) {
    ((tops & 0xFFFF).wrapping_sub(FIRST), (tops >> 16).wrapping_sub(SECOND))
}

/// Packs the moments of a granule; the last granule may have fewer than 256 elements.
#[inline(always)]
pub(super) fn pack(words: &mut [i32], first: &[f32], second: &[f32], draws: Draws) {
    let (mut first_random, mut second_random) = ([0; GRANULE], [0; GRANULE]);
    for ((first, second), element) in first_random.iter_mut().zip(&mut second_random).zip(0..) {
        let draw = draws.of(element);
        (*first, *second) = (draw.first(), draw.second());
    }
    let (mut first_top, mut second_top) = (LOWEST_TOP, LOWEST_TOP);
    for (value, random) in first.iter().zip(&first_random) {
        first_top = first_top.max((magnitude(value.to_bits()) + random) >> DROPPED);
    }
    for (value, random) in second.iter().zip(&second_random) {
        second_top = second_top.max((magnitude(value.to_bits()) + random) >> DROPPED);
    }
    let tops = first_top | second_top << 16;
    let (below_first, below_second) = below(tops);
    let (mut first_codes, mut second_codes) = ([0; GRANULE], [0; GRANULE]);
    for ((code, value), random) in first_codes.iter_mut().zip(first).zip(first_random) {
        *code = first_code(value.to_bits(), random, below_first);
    }
    for ((code, value), random) in second_codes.iter_mut().zip(second).zip(second_random) {
        *code = second_code(value.to_bits(), random, below_second);
    }
    pack_codes(&mut words[..CODE_WORDS], &first_codes);
    pack_codes(&mut words[CODE_WORDS..2 * CODE_WORDS], &second_codes);
    words[2 * CODE_WORDS] = tops as i32;
}

/// The code of a first moment.
#[inline(always)]
fn first_code(bits: u32, random: u32, below: u32) -> u32 {
    let magnitude = magnitude(bits);
    // The factors have 4 and 20 significant bits, so the product is exact on every device.
    let last = f32::from_bits((below + 1) << DROPPED) * (random as i32 as f32 / 1_048_576.0);
    let is_last = magnitude >> DROPPED >= NORMAL && f32::from_bits(magnitude) > last;
    let counted = ((magnitude + random) >> DROPPED).wrapping_sub(below);
    let code = if magnitude >> DROPPED <= below { u32::from(is_last) } else { counted };
    if code == 0 { 0 } else { code | bits >> 31 << 7 }
}

/// The code of a second moment.
#[inline(always)]
fn second_code(bits: u32, random: u32, below: u32) -> u32 {
    let magnitude = magnitude(bits);
    let level = (magnitude + random) >> DROPPED;
    if magnitude >> DROPPED < NORMAL { 0 } else { level.max(below + 1) - below }
}
