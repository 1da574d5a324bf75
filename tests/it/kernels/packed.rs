//! The packed product of inference on the CPU.

use burn::tensor::{Device, Tensor};
use uner_kernels::{PackedWeight, QuantFormat, QuantizedWeight, packed_linear};

use super::{assert_close, random, refusal, values};
use crate::devices::cpu;

#[test]
fn packed_linear_on_the_cpu() {
    for [tokens, input, output] in
        [[1, 1, 1], [13, 33, 31], [64, 7, 65], [27, 576, 96], [3, 1536, 33], [0, 4, 5], [5, 4, 32]]
    {
        let (x, weight) = (random([tokens, input]), random([output, input]));
        let packed = PackedWeight::new(weight.clone());
        assert_eq!(packed.dims(), [output, input]);
        assert_eq!(packed.values(), values(&weight), "nothing is lost");
        let got = packed_linear(x.clone(), &packed);
        let expected = uner_kernels::packed_linear::reference(&x, &packed);
        let what = format!("packed_linear {tokens} {input} {output}");
        assert_close(&what, &got, &expected, cpu().tolerance.op);
        let plain = uner_kernels::linear(x, weight);
        assert_close(&format!("{what} and linear"), &got, &plain, cpu().tolerance.op);
    }
}

/// With a weight of 8 bits, `x` is quantised too, to half a step of its group of 64 inputs at most.
#[test]
fn packed_linear_of_8_bits_on_the_cpu() {
    for [tokens, input, output] in [[1, 1, 1], [13, 33, 31], [27, 576, 96], [0, 4, 5]] {
        let (x, weight) = (random([tokens, input]), random([output, input]));
        let quantized = QuantizedWeight::new(weight, QuantFormat::Int8);
        let packed = PackedWeight::quantized(&quantized);
        assert_eq!(packed.dims(), [output, input]);
        assert_eq!(packed.values(), quantized.widened(), "nothing is lost");
        let got = values(&packed_linear(x.clone(), &packed));
        let expected = values(&uner_kernels::packed_linear::reference(&x, &packed));
        let (x, weight) = (values(&x), packed.values());
        for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let (row, output) = (index / output, index % output);
            let x = &x[row * input..][..input];
            let weight = &weight[output * input..][..input];
            let of_group = |(x, weight): (&[f32], &[f32])| {
                let largest = x.iter().fold(0f32, |largest, x| largest.max(x.abs()));
                0.5 * largest / 127.0 * weight.iter().map(|weight| weight.abs()).sum::<f32>()
            };
            let bound: f32 = x.chunks(64).zip(weight.chunks(64)).map(of_group).sum();
            assert!(
                (got - expected).abs() <= 1.001 * bound + 1e-5,
                "{tokens} {input} {output} [{index}]: {got} is not {expected} within {bound}"
            );
        }
    }
}

/// A row of the result has the same bits, whatever the rows beside it: on one thread, with the
/// panels spread over threads (90 rows), and with the rows spread over them (900, up to 18
/// threads).
#[test]
fn a_row_does_not_depend_on_its_batch() {
    let x = random([900, 576]);
    let weight = PackedWeight::new(random([161, 576]));
    let all = packed_linear(x.clone(), &weight);
    let expected = uner_kernels::packed_linear::reference(&x, &weight);
    assert_close("900 rows", &all, &expected, cpu().tolerance.op);
    let all = values(&all);
    for (first, count) in [(0, 1), (5, 1), (3, 2), (7, 3), (1, 13), (20, 29), (5, 90)] {
        let part = packed_linear(x.clone().narrow(0, first, count), &weight);
        assert_eq!(
            values(&part),
            all[first * 161..(first + count) * 161],
            "{count} rows from {first}"
        );
    }
}

#[test]
fn a_misfit_is_refused() {
    let weight = PackedWeight::new(Tensor::<2>::zeros([3, 4], &Device::flex()));
    let message = refusal(|| drop(packed_linear(random([2, 3]), &weight)));
    assert!(message.contains("`x` [2, 3] does not fit `weight` [3, 4]"), "{message}");
}
