use burn::tensor::{Device, Tensor, TensorData};

use super::super::cpu::{Panels, product};
use super::*;
use crate::quantized_linear::{QuantFormat, QuantizedWeight};

/// `[tokens, in, out]`.
const SHAPES: [[usize; 3]; 8] = [
    [1, 1, 1],
    [3, 70, 33],
    [6, 130, 3],
    [11, 64, 5],
    [12, 64, 32],
    [29, 130, 40],
    [50, 100, 65],
    [13, 576, 1536],
];

/// Those that the interpreter Miri has time for, which knows instructions that the processor lacks.
fn shapes() -> impl Iterator<Item = [usize; 3]> {
    SHAPES.into_iter().filter(|shape| !cfg!(miri) || shape.iter().product::<usize>() < 30_000)
}

/// Random bits, by the linear congruential generator of Knuth's MMIX.
fn random_bits(seed: u64, count: usize) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    (0..count).map(|_| next()).collect()
}

/// Numbers of very different sizes with both signs.
fn random(seed: u64, count: usize) -> Vec<f32> {
    let number = |bits: u32| (bits as i32 as f32 / 2f32.powi(31)).powi(3);
    random_bits(seed, count).into_iter().map(number).collect()
}

fn quantized_weight(values: &[f32], dims: [usize; 2]) -> QuantizedWeight {
    let values = TensorData::new(values.to_vec(), dims);
    QuantizedWeight::new(Tensor::from_data(values, &Device::flex()), QuantFormat::Int8)
}

/// Words and scales.
fn quantized(values: &[f32], dims: [usize; 2]) -> (Vec<i32>, Vec<f32>) {
    quantized_weight(values, dims).int8_codes()
}

fn random_panels(seed: u64, dims: [usize; 2]) -> Int8Panels {
    let (words, scales) = quantized(&random(seed, dims[0] * dims[1]), dims);
    Int8Panels::new(&words, &scales, dims)
}

/// The product with given instructions.
fn product_with(instructions: Instructions, x: &[f32], weight: &Int8Panels) -> Vec<f32> {
    let [outputs, inputs] = weight.dims();
    let tokens = x.len() / inputs;
    let mut rows = vec![RowGroup::default(); tokens * weight.parts()];
    weight.interleave(x, &mut rows);
    let mut y = vec![0.0; tokens * outputs];
    weight.multiply_with(instructions, &rows, 0..outputs.div_ceil(PANEL), &mut y, outputs);
    y
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The dot product of a quantised row with a row of the weight, and the sum of the magnitudes of
/// its terms, in f64.
fn exact_dot(x: &[f32], weight: &[f32]) -> (f64, f64) {
    let (mut sum, mut size) = (0.0, 0.0);
    for (x, weight) in x.chunks(GROUP).zip(weight.chunks(GROUP)) {
        let largest = x.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
        for (value, &weight) in x.iter().zip(weight) {
            let code = f64::from((value * inverse).round_ties_even());
            let term = code * f64::from(largest / 127.0) * f64::from(weight);
            (sum, size) = (sum + term, size + term.abs());
        }
    }
    (sum, size)
}

#[test]
fn the_product_is_that_of_the_quantised_numbers() {
    for [tokens, inputs, outputs] in shapes() {
        let (x, weight) = (random(1, tokens * inputs), random_panels(2, [outputs, inputs]));
        let (y, values) = (product(&x, tokens, &weight), weight.values());
        for (x, y) in x.chunks(inputs).zip(y.chunks(outputs)) {
            for (weight, y) in values.chunks(inputs).zip(y) {
                let (expected, size) = exact_dot(x, weight);
                let off = (f64::from(*y) - expected).abs();
                assert!(off <= 5e-7 * size, "{tokens} {inputs} {outputs}: {y}, not {expected}");
            }
        }
    }
}

/// Rounding changes a number of `x` by half a step at most.
#[test]
fn the_error_is_that_of_rounding_x() {
    for [tokens, inputs, outputs] in shapes() {
        let (x, weight) = (random(3, tokens * inputs), random_panels(4, [outputs, inputs]));
        let (y, values) = (product(&x, tokens, &weight), weight.values());
        for (x, y) in x.chunks(inputs).zip(y.chunks(outputs)) {
            for (weight, y) in values.chunks(inputs).zip(y) {
                let (mut expected, mut bound) = (0.0, 0.0);
                for (x, weight) in x.chunks(GROUP).zip(weight.chunks(GROUP)) {
                    let largest = x.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                    for (&x, &weight) in x.iter().zip(weight) {
                        expected += f64::from(x) * f64::from(weight);
                        bound += f64::from(largest / 254.0 * weight.abs());
                    }
                }
                let off = (f64::from(*y) - expected).abs();
                assert!(off <= 1.0001 * bound, "{tokens} {inputs} {outputs}: {y}, not {expected}");
            }
        }
    }
}

#[test]
fn all_instructions_give_the_same_bits() {
    let portable = Instructions::available().last().expect("there is always one");
    for [tokens, inputs, outputs] in shapes() {
        let x = random(5, tokens * inputs);
        let groups = outputs * inputs.div_ceil(GROUP);
        // Codes of all values, -128 included.
        let words: Vec<i32> =
            random_bits(6, groups * WORDS).into_iter().map(|bits| bits as i32).collect();
        let weight = Int8Panels::new(&words, &random(7, groups), [outputs, inputs]);
        let expected = bits(&product_with(portable, &x, &weight));
        for instructions in Instructions::available() {
            let got = bits(&product_with(instructions, &x, &weight));
            assert_eq!(got, expected, "{instructions:?} {tokens} {inputs} {outputs}");
        }
    }
}

#[test]
fn nothing_saturates() {
    for (number, code) in [(1.0, 127), (-1.0, 127), (1.0, -127), (-1.0, -127), (-1.0, -128)] {
        let word = i32::from_le_bytes([code as i8 as u8; 4]);
        let weight = Int8Panels::new(&[word; 2 * WORDS], &[1.0, 2.0], [1, 2 * GROUP]);
        for instructions in Instructions::available() {
            let y = product_with(instructions, &[127.0 * number; 2 * GROUP], &weight);
            let group = 64.0 * 127.0 * number * code as f32;
            assert_eq!(y, [3.0 * group], "{instructions:?} {number} {code}");
        }
    }
}

/// On one thread, with the panels spread over threads (90 rows), and with the rows spread over them
/// (900, up to 18 threads).
#[test]
#[cfg_attr(miri, ignore)]
fn a_row_does_not_depend_on_its_batch() {
    let (x, weight) = (random(8, 900 * 576), random_panels(9, [161, 576]));
    let all = bits(&product(&x, 900, &weight));
    for (first, count) in [(0, 1), (5, 1), (3, 2), (7, 3), (1, 13), (20, 29), (5, 90)] {
        let part = product(&x[first * 576..(first + count) * 576], count, &weight);
        assert_eq!(bits(&part), all[first * 161..(first + count) * 161], "{count} from {first}");
    }
}

#[test]
fn a_row_with_a_number_that_is_not_finite_becomes_nan() {
    let dims = [33, 130];
    // The scale of the group with the number is 0 for some outputs.
    let mut values = random(10, dims[0] * dims[1]);
    values[64..128].fill(0.0);
    let (words, scales) = quantized(&values, dims);
    let weight = Int8Panels::new(&words, &scales, dims);
    let x = random(11, 3 * 130);
    for number in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 70, 129] {
            let mut broken = x.clone();
            broken[130 + place] = number;
            for instructions in Instructions::available() {
                let whole = product_with(instructions, &x, &weight);
                let y = product_with(instructions, &broken, &weight);
                assert!(y[33..66].iter().all(|value| value.is_nan()), "{instructions:?} {number}");
                assert_eq!(y[..33], whole[..33]);
                assert_eq!(y[66..], whole[66..]);
            }
        }
    }
}

#[test]
fn very_large_and_very_small_numbers_are_quantised() {
    let (words, scales) = quantized(&[1.0; 2 * GROUP], [1, 2 * GROUP]);
    let weight = Int8Panels::new(&words, &scales, [1, 2 * GROUP]);
    for (number, expected) in [(f32::MAX / 256.0, f32::MAX / 2.0), (1e-35, 1.28e-33), (1e-40, 0.0)]
    {
        let [y] = product(&[number; 2 * GROUP], 1, &weight)[..] else { panic!("one output") };
        assert!((y - expected).abs() <= 1e-5 * expected, "{number}: {y}");
    }
}

#[test]
fn nothing_is_lost_by_packing() {
    for dims in [[1, 1], [33, 70], [65, 200], [32, 64]] {
        let weight = quantized_weight(&random(12, dims[0] * dims[1]), dims);
        let (words, scales) = weight.int8_codes();
        let panels = Int8Panels::new(&words, &scales, dims);
        assert_eq!(panels.dims(), dims);
        assert_eq!(panels.values(), weight.widened());
    }
}

#[test]
fn an_empty_product_is_empty_or_zero() {
    for [tokens, inputs, outputs] in [[0, 70, 33], [3, 0, 33], [3, 70, 0]] {
        let weight = random_panels(13, [outputs, inputs]);
        let y = product(&random(14, tokens * inputs), tokens, &weight);
        assert_eq!(y, vec![0.0; tokens * outputs]);
    }
}
