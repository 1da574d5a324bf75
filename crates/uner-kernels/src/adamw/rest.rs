//! The *rest* of a bf16 parameter: the 16 bits that complete it to its f32 value. The parameter is
//! the value rounded to nearest, ties to even. Together they are the value, so nothing is stored
//! twice.
//!
//! The rest is the difference, as integers, between the bits of the value and those of the bf16
//! followed by 16 zeros. It is between −2¹⁵ and 2¹⁵, one number more than 16 signed bits can
//! represent. The largest is left out. It occurs only for a value exactly halfway to the next bf16
//! that is rounded down to an even one. That value loses one unit in the last place of an f32, half
//! of what an update's arithmetic may lose. Values below 2⁻¹²⁶ become zero, because devices may
//! flush them to zero. Infinities and NaN have no rest.

use super::code::{INFINITE, MAGNITUDE};

/// Elements whose rests are stored together, in [`UNIT_WORDS`] words.
pub(super) const UNIT: usize = 4;
/// Words of 32 bits for these rests: two to a word, the first in the lower half.
pub(super) const UNIT_WORDS: usize = UNIT / 2;
/// The bits of the smallest normal number.
pub(super) const SMALLEST: u32 = 0x0080_0000;
/// Mask of the bits that bf16 keeps of an f32.
pub(super) const UPPER: u32 = 0xFFFF_0000;
/// The difference that no rest can represent; the one below it is stored instead.
pub(super) const TIE: u32 = 0x8000;

/// Number of words for the rests of `elements` elements.
pub fn num_words(elements: usize) -> usize {
    elements.div_ceil(UNIT) * UNIT_WORDS
}

/// Joins parameters, widened to f32, with their rests; returns the f32 values.
///
/// # Panics
/// When there are not [`num_words`] words.
pub fn joined(params: &[f32], words: &[i32]) -> Vec<f32> {
    assert_eq!(
        words.len(),
        num_words(params.len()),
        "words of the rests of {} elements",
        params.len()
    );
    let rests = words.iter().flat_map(|word| [*word as i16, (*word >> 16) as i16]);
    let join =
        |param: &f32, rest: i16| f32::from_bits(param.to_bits().wrapping_add_signed(rest.into()));
    params.iter().zip(rests).map(|(param, rest)| join(param, rest)).collect()
}

/// Splits values into parameters, which bf16 represents exactly, and the words of their rests.
pub fn parted(values: &[f32]) -> (Vec<f32>, Vec<i32>) {
    let (params, mut rests): (Vec<f32>, Vec<i16>) = values.iter().map(|value| part(*value)).unzip();
    rests.resize(2 * num_words(values.len()), 0);
    let word = |rests: &[i16]| i32::from(rests[0] as u16) | i32::from(rests[1]) << 16;
    (params, rests.chunks_exact(2).map(word).collect())
}

fn part(value: f32) -> (f32, i16) {
    let bits = value.to_bits();
    let magnitude = bits & MAGNITUDE;
    let is_normal = (SMALLEST..INFINITE).contains(&magnitude);
    let upper = if is_normal {
        bits + 0x7FFF + (bits >> 16 & 1)
    } else if magnitude < SMALLEST {
        bits ^ magnitude
    } else {
        bits
    } & UPPER;
    let difference = if is_normal { bits.wrapping_sub(upper) } else { 0 };
    let rest = if difference == TIE { TIE - 1 } else { difference };
    (f32::from_bits(upper), rest as i16)
}

#[cfg(test)]
mod tests {
    use burn::tensor::bf16;

    use super::*;

    /// Values around the special ones, and every lower half of some upper halves.
    fn values() -> Vec<f32> {
        let uppers = [0x0080, 0x3F80, 0x3F81, 0x7F7E, 0x7F7F, 0x8080, 0xBDCC, 0xBDCD, 0xFF7F];
        let all = uppers
            .into_iter()
            .flat_map(|upper| (0..=0xFFFFu32).map(move |lower| upper << 16 | lower));
        all.map(f32::from_bits).collect()
    }

    #[test]
    fn a_parameter_is_its_value_rounded_and_the_rest_what_that_lacks() {
        let values = values();
        let (params, words) = parted(&values);
        let mut short = 0;
        for ((value, param), joined) in values.iter().zip(&params).zip(joined(&params, &words)) {
            assert_eq!(param.to_bits(), bf16::from_f32(*value).to_f32().to_bits(), "{value:e}");
            let lost = value.to_bits() - joined.to_bits();
            let is_lost_tie = value.to_bits() & 0x1_FFFF == 0x8000;
            assert_eq!(lost, u32::from(is_lost_tie), "{value:e}");
            short += lost;
        }
        // One for each even upper half.
        assert_eq!(short, 5);
    }

    /// So that a parameter read from a file continues unchanged.
    #[test]
    fn what_was_joined_is_parted_as_it_was() {
        let (params, words) = parted(&values());
        assert_eq!(parted(&joined(&params, &words)), (params, words));
    }

    #[test]
    fn what_is_no_normal_number_has_no_rest() {
        let cases = [
            0.0,
            -0.0,
            f32::from_bits(1),
            -f32::from_bits(0x007F_FFFF),
            f32::INFINITY,
            f32::NEG_INFINITY,
        ];
        let (params, words) = parted(&cases);
        assert_eq!(words, [0; 4]);
        let joined = joined(&params, &words);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let expected = [0.0, -0.0, 0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(bits(&joined), bits(&expected));
        let (params, words) = parted(&[f32::NAN]);
        assert!(params[0].is_nan() && self::joined(&params, &words)[0].is_nan());
    }

    #[test]
    fn the_last_words_are_whole() {
        for (count, words) in [(0, 0), (1, 2), (4, 2), (5, 4), (255, 128), (256, 128)] {
            assert_eq!(num_words(count), words);
            assert_eq!(parted(&vec![1.1; count]).1.len(), words);
        }
    }
}
