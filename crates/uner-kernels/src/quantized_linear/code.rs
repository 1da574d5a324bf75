//! Quantisation of numbers to codes and back, on the CPU.

use rayon::prelude::*;

use super::{GROUP, Layout, QuantFormat};

/// The 16 numbers of `NormalFloat`, as in appendix E of `QLoRA` and in bitsandbytes.
pub(super) const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Words and scales of a weight, row by row.
pub(super) fn quantized(weight: &[f32], layout: Layout) -> (Vec<i32>, Vec<f32>) {
    let mut words = vec![0; layout.rows * layout.words()];
    let mut scales = vec![0.0; layout.rows * layout.groups()];
    let rows = words
        .par_chunks_mut(layout.words().max(1))
        .zip(scales.par_chunks_mut(layout.groups().max(1)));
    rows.zip(weight.par_chunks(layout.columns.max(1))).for_each(|((words, scales), row)| {
        let groups = words.chunks_mut(GROUP / layout.form.per_word()).zip(scales);
        for ((words, scale), group) in groups.zip(row.chunks(GROUP)) {
            let largest = group.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            *scale = match layout.form {
                QuantFormat::Int8 => largest / 127.0,
                QuantFormat::Nf4 => largest,
            };
            let inverse = if largest == 0.0 { 0.0 } else { 1.0 / *scale };
            pack(words, group, inverse, layout.form);
        }
    });
    (words, scales)
}

/// Packs the codes of one group.
fn pack(words: &mut [i32], group: &[f32], inverse: f32, form: QuantFormat) {
    for (word, values) in words.iter_mut().zip(group.chunks(form.per_word())) {
        let codes = values.iter().map(|value| match form {
            QuantFormat::Int8 => {
                u32::from((value * inverse).round().clamp(-127.0, 127.0) as i8 as u8)
            }
            QuantFormat::Nf4 => nearest(value * inverse),
        });
        let bits = 32 / form.per_word();
        *word = codes.zip(0..).fold(0u32, |word, (code, lane)| word | code << (bits * lane)) as i32;
    }
}

/// The index of the nearest number in [`NF4`].
fn nearest(value: f32) -> u32 {
    // The code changes halfway between two neighbours.
    NF4.windows(2).filter(|pair| value > f32::midpoint(pair[0], pair[1])).count() as u32
}

/// Dequantises the weight of these words and scales.
pub(super) fn widened(words: &[i32], scales: &[f32], layout: Layout) -> Vec<f32> {
    let mut weight = vec![0.0; layout.rows * layout.columns];
    let rows = weight.chunks_mut(layout.columns.max(1)).zip(words.chunks(layout.words().max(1)));
    for ((row, words), scales) in rows.zip(scales.chunks(layout.groups().max(1))) {
        widen_row(row, words, scales, layout.form);
    }
    weight
}

/// Dequantises one row.
#[inline(always)]
pub(super) fn widen_row(row: &mut [f32], words: &[i32], scales: &[f32], form: QuantFormat) {
    let groups = row.chunks_mut(GROUP).zip(words.chunks(GROUP / form.per_word()));
    for ((group, words), &scale) in groups.zip(scales) {
        match form {
            QuantFormat::Int8 => {
                for (values, word) in group.chunks_mut(4).zip(words) {
                    for (value, code) in values.iter_mut().zip(word.to_le_bytes()) {
                        *value = f32::from(code as i8) * scale;
                    }
                }
            }
            QuantFormat::Nf4 => {
                for (values, &word) in group.chunks_mut(8).zip(words) {
                    for (value, lane) in values.iter_mut().zip(0..) {
                        *value = NF4[(word as u32 >> (4 * lane) & 15) as usize] * scale;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_widened_is_the_nearest_that_can_be_stored() {
        let values: Vec<f32> =
            (0..3 * 150).map(|index| ((index * 37 % 101) as f32 - 50.0) * 0.013).collect();
        for form in [QuantFormat::Int8, QuantFormat::Nf4] {
            let layout = Layout { form, rows: 3, columns: 150 };
            let (words, scales) = quantized(&values, layout);
            assert_eq!((words.len(), scales.len()), (3 * 192 / form.per_word(), 3 * 3));
            let got = widened(&words, &scales, layout);
            for (row, (got, values)) in got.chunks(150).zip(values.chunks(150)).enumerate() {
                for (group, (got, values)) in
                    got.chunks(GROUP).zip(values.chunks(GROUP)).enumerate()
                {
                    let scale = scales[row * 3 + group];
                    for (got, value) in got.iter().zip(values) {
                        let off = match form {
                            QuantFormat::Int8 => 0.5 * scale,
                            QuantFormat::Nf4 => NF4.iter().fold(f32::MAX, |best, code| {
                                best.min((code * scale - value).abs())
                            }),
                        };
                        assert!(
                            (got - value).abs() <= off * 1.0001 + 1e-7,
                            "{form:?}: {value} became {got}"
                        );
                    }
                    let largest = |values: &[f32]| {
                        values.iter().fold(0f32, |max, value| max.max(value.abs()))
                    };
                    assert!(
                        (largest(got) - largest(values)).abs() < 1e-6,
                        "{form:?}: the largest is exact"
                    );
                }
            }
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        for form in [QuantFormat::Int8, QuantFormat::Nf4] {
            let layout = Layout { form, rows: 1, columns: 70 };
            let (words, scales) = quantized(&[0.0; 70], layout);
            assert_eq!(widened(&words, &scales, layout), [0.0; 70]);
        }
    }
}
