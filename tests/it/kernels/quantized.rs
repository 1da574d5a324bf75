//! Frozen weights of 8 and 4 bits. On every device the layer equals one with the dequantised
//! weight, and that weight is as close to the original as the format allows.

use burn::tensor::Tensor;
use uner_kernels::quantized_linear::QuantFormat;
use uner_kernels::{QuantizedWeight, quantized_linear};

use super::{assert_within, random, values};

/// Rows that end inside a group, rows that end with one, and rows of several groups.
const SHAPES: [[usize; 3]; 5] =
    [[1, 1, 1], [7, 33, 70], [33, 65, 64], [65, 127, 515], [9, 96, 128]];

#[test]
fn quantized_linear_on_every_device() {
    for [tokens, output, input] in SHAPES {
        let weight = random([output, input]);
        for form in [QuantFormat::Int8, QuantFormat::Nf4] {
            let on = |device: &burn::tensor::Device| {
                QuantizedWeight::new(Tensor::from_data(weight.to_data(), device), form)
            };
            // Half types also round the dequantised weight, so sums have twice as many roundings.
            assert_within(
                2.0,
                &format!("quantized_linear {form:?} {tokens} {input} -> {output}"),
                &[random([tokens, input])],
                &random([tokens, output]),
                |inputs, device| quantized_linear(inputs[0].clone(), &on(device)),
                |inputs, device| {
                    uner_kernels::quantized_linear::reference(inputs[0].clone(), &on(device))
                },
            );
        }
    }
}

/// Root mean square of the error of normally distributed weights, relative to the weights'. The
/// same computation in PyTorch, which finds the nearest code by trying all, gives these values. For
/// 8 bits it is the largest of 64 numbers (about 2.6) / 127 / √12.
#[test]
fn errors_are_those_of_the_forms() {
    let weight = random([512, 512]);
    for (form, expected) in [(QuantFormat::Int8, 0.0059), (QuantFormat::Nf4, 0.0921)] {
        let got = QuantizedWeight::new(weight.clone(), form).widened();
        let squares = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|v| f64::from(v).powi(2)).sum::<f64>()
        };
        let original = values(&weight);
        let error = squares(&mut got.iter().zip(&original).map(|(a, b)| a - b));
        let share = (error / squares(&mut original.iter().copied())).sqrt();
        assert!((share / expected - 1.0).abs() < 0.02, "{form:?}: {share} instead of {expected}");
    }
}
