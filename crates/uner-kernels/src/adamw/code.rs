//! How moments are stored in 8 bits, and what is drawn to round without a bias.
//!
//! A magnitude is kept to the first three digits behind the leading one: the upper bits of its f32,
//! its *index*. A block of 256 elements has one *top* for each moment, the largest index in it, and
//! a code counts down from there: 127 or 255 is the top, each code below it is the next smaller
//! index (8 of them halve the number), and 0 is zero. So 127 codes of the first moment, beside its
//! sign, reach down to 2⁻¹⁶ of the block's largest, and 255 of the second to 2⁻³², whose root is
//! 2⁻¹⁶ too.
//!
//! Unlike with a factor for each block (Dettmers et al. 2022, "8-bit Optimizers via Block-wise
//! Quantization"), the numbers that can be stored do not move with the block's largest. What has
//! not changed is thus stored as it was, and what changes by a thousandth, as second moments do, is
//! stored as it was almost always and as its neighbour now and then: rounding is to either
//! neighbour by chance, so that the expectation is exact. Rounded to the nearest, second moments
//! would never decay.
//!
//! A second moment that is not zero never becomes zero, since updates are divided by its root:
//! below the last code it is the last code. A first moment there is zero or the last code, by
//! chance. Numbers below 2⁻¹²⁶ are zero.

use super::AdamWStep;
use crate::hash::{mix, nth};

/// Elements that share a top.
pub const BLOCK: usize = 256;
/// Words of 32 bits of a block: four codes each of the first moments, of the second, and both tops,
/// the first moments' in the lower half.
pub const BLOCK_WORDS: usize = 2 * CODE_WORDS + 1;

/// Words of the codes of one moment of a block.
pub(super) const CODE_WORDS: usize = BLOCK / 4;
/// The largest code of a first moment.
pub(super) const FIRST: u32 = 127;
/// The largest code of a second moment.
pub(super) const SECOND: u32 = 255;
/// Bits of an f32 that its index does not have.
pub(super) const DROPPED: u32 = 20;
/// The index of the smallest normal number.
pub(super) const NORMAL: u32 = 8;
/// Tops are not below this, so that every code is a normal number.
pub(super) const LOWEST_TOP: u32 = NORMAL + SECOND;
/// The bits of infinity.
pub(super) const INFINITE: u32 = 0x7F80_0000;
/// All but the sign.
pub(super) const MAGNITUDE: u32 = 0x7FFF_FFFF;

/// Neighbours that share a hash.
pub(super) const SHARING: usize = 4;
/// What they draw from it are numbers of a generator that multiplies modulo 2³² (L'Ecuyer 1999,
/// "Tables of Linear Congruential Generators of Different Sizes and Good Lattice Structure"), whose
/// upper bits are what counts: three numbers for each element.
pub(super) const MULTIPLIER: u32 = 2_891_336_453;
/// What it multiplies by from the first of them to each.
pub(super) const LEAPS: [u32; SHARING] = [1, leap(3), leap(6), leap(9)];

/// What the generator multiplies by in so many steps.
const fn leap(steps: u32) -> u32 {
    MULTIPLIER.wrapping_pow(steps)
}

/// Words that hold the moments of so many elements. The last block is whole, too.
pub fn num_words(elements: usize) -> usize {
    elements.div_ceil(BLOCK) * BLOCK_WORDS
}

/// Both moments of `elements` elements from their words.
///
/// # Panics
/// When these are other than [`num_words`].
pub fn moments(words: &[i32], elements: usize) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(words.len(), num_words(elements), "words of {elements} elements");
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for words in words.chunks_exact(BLOCK_WORDS) {
        let (mut m, mut v) = ([0.0; BLOCK], [0.0; BLOCK]);
        widen(words, &mut m, &mut v);
        first.extend(m);
        second.extend(v);
    }
    first.truncate(elements);
    second.truncate(elements);
    (first, second)
}

/// What the elements of one update draw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    /// Depends on the parameter and the update.
    pub(super) start: u32,
    /// Number of the first element within the parameter.
    pub(super) first: u32,
}

impl Draws {
    pub(super) fn new(step: &AdamWStep) -> Self {
        Self { start: mix(step.key ^ mix(step.step as u32)), first: step.first as u32 }
    }

    /// The same from element `count` on.
    #[inline(always)]
    pub(super) fn behind(self, count: usize) -> Self {
        Self { first: self.first.wrapping_add(count as u32), ..self }
    }

    /// The draw of an element.
    #[inline(always)]
    pub(super) fn of(self, element: u32) -> Draw {
        let place = self.first.wrapping_add(element);
        // Without a table, so that it becomes vector instructions.
        let odd = if place & 1 == 0 { 1 } else { LEAPS[1] };
        let upper = if place & 2 == 0 { 1 } else { LEAPS[2] };
        Draw(nth(self.start, place / SHARING as u32).wrapping_mul(odd).wrapping_mul(upper))
    }
}

/// The random bits of an element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw(u32);

impl Draw {
    /// 16 bits for its value.
    #[inline(always)]
    pub(super) fn value(self) -> u32 {
        self.0 >> 16
    }

    /// 20 bits for its first moment.
    #[inline(always)]
    pub(super) fn first(self) -> u32 {
        self.0.wrapping_mul(leap(1)) >> 12
    }

    /// 20 bits for its second moment.
    #[inline(always)]
    pub(super) fn second(self) -> u32 {
        self.0.wrapping_mul(leap(2)) >> 12
    }
}

/// The bits of a number without its sign; infinity where it is none, so that random bits can be
/// added.
#[inline(always)]
pub(super) fn magnitude(bits: u32) -> u32 {
    (bits & MAGNITUDE).min(INFINITE)
}

/// Rounds the bits of an f32 to one of the neighbours that lack the lower bits, which are added to
/// with as many random ones; more likely to the nearer one. The lower bits are still to be dropped.
/// What is no number is left as it is.
#[inline(always)]
pub(super) fn rounded(bits: u32, random: u32) -> u32 {
    if bits & MAGNITUDE < INFINITE { bits + random } else { bits }
}

/// Both moments of a block. Here and in [`pack`] a loop does one thing to all 256, so that it
/// becomes vector instructions.
#[inline(always)]
pub(super) fn widen(words: &[i32], first: &mut [f32; BLOCK], second: &mut [f32; BLOCK]) {
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

/// The codes in the words of a moment.
#[inline(always)]
fn unpacked(words: &[i32]) -> [u32; BLOCK] {
    let mut codes = [0; BLOCK];
    for (codes, word) in codes.chunks_exact_mut(4).zip(words) {
        for (code, byte) in codes.iter_mut().zip(word.to_le_bytes()) {
            *code = u32::from(byte);
        }
    }
    codes
}

/// The words of the codes of a moment.
#[inline(always)]
fn pack_codes(words: &mut [i32], codes: &[u32; BLOCK]) {
    for (word, codes) in words.iter_mut().zip(codes.chunks_exact(4)) {
        *word = (codes[0] | codes[1] << 8 | codes[2] << 16 | codes[3] << 24) as i32;
    }
}

/// The indices that code 0 would stand for, from a block's tops. (Of a block that was never written
/// both tops are 0.)
#[inline(always)]
fn below(tops: u32) -> (u32, u32) {
    ((tops & 0xFFFF).wrapping_sub(FIRST), (tops >> 16).wrapping_sub(SECOND))
}

/// The words of a block's moments; those of a last block are fewer than 256.
#[inline(always)]
pub(super) fn pack(words: &mut [i32], first: &[f32], second: &[f32], draws: Draws) {
    let (mut first_random, mut second_random) = ([0; BLOCK], [0; BLOCK]);
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
    let (mut first_codes, mut second_codes) = ([0; BLOCK], [0; BLOCK]);
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
    // The factors have 4 and 20 digits: the product is exact wherever it is computed.
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
    let index = (magnitude + random) >> DROPPED;
    if magnitude >> DROPPED < NORMAL { 0 } else { index.max(below + 1) - below }
}
