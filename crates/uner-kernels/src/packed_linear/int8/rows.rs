//! Rows of `x` in 8 bits.

use pulp::{Simd, WithSimd};

use super::{GROUP, WORDS, tiles};

/// A quantised group of a row: `x ≈ scale · code`.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::packed_linear) struct RowGroup {
    /// 4 codes from -127 to 127 in a word, the first in the lowest bits.
    pub(super) words: [i32; WORDS],
    /// The sum of the codes.
    pub(super) sum: i32,
    /// NaN if a number of the group is not finite.
    pub(super) scale: f32,
}

/// Quantises rows, `[rows, inputs]`, into tiles of `[groups, rows]`.
pub(super) fn quantize(x: &[f32], inputs: usize, tiles: &mut [RowGroup]) {
    pulp::Arch::new().dispatch(Rows { x, inputs, tiles });
}

struct Rows<'a> {
    x: &'a [f32],
    inputs: usize,
    tiles: &'a mut [RowGroup],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { x, inputs, tiles: out } = self;
        let groups = inputs.div_ceil(GROUP);
        for (first, count) in tiles(x.len() / inputs) {
            let tile = &mut out[first * groups..][..count * groups];
            for row in 0..count {
                let values = x[(first + row) * inputs..][..inputs].chunks(GROUP);
                for (to, values) in tile.iter_mut().skip(row).step_by(count).zip(values) {
                    *to = match values.as_array() {
                        Some(values) => quantized(values),
                        None => quantized(&filled_up(values)),
                    };
                }
            }
        }
    }
}

/// The last group of a row, with zeros behind its numbers.
#[inline(always)]
fn filled_up(values: &[f32]) -> [f32; GROUP] {
    let mut group = [0.0; GROUP];
    group[..values.len()].copy_from_slice(values);
    group
}

/// Quantises a group to the nearest codes, ties to even ones. Numbers below 2⁻¹²⁰ become 0, if the
/// group has no larger ones: the inverse of their scale would be infinite.
#[inline(always)]
fn quantized(values: &[f32; GROUP]) -> RowGroup {
    /// A number is rounded to an integer when this one is added, whose last bit counts as 1. The
    /// lowest 8 bits of the sum are that integer in two's complement.
    const ROUND: f32 = (3 << 22) as f32;
    // The bits of magnitudes have the order of their values, and those of NaN come last.
    let bits = values.iter().fold(0, |largest, value| value.abs().to_bits().max(largest));
    let largest = f32::from_bits(bits);
    if !largest.is_finite() {
        return RowGroup { scale: f32::NAN, ..RowGroup::default() };
    }
    if largest < 64.0 * f32::MIN_POSITIVE {
        return RowGroup::default();
    }
    let inverse = 127.0 / largest;
    let codes = values.map(|value| (value * inverse + ROUND).to_bits() as i8);
    let sum = codes.iter().map(|&code| i32::from(code)).sum();
    let (words, _) = codes.as_chunks();
    let words = std::array::from_fn(|word| i32::from_le_bytes(words[word].map(|code| code as u8)));
    RowGroup { words, sum, scale: largest / 127.0 }
}
