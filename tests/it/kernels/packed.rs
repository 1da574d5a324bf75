//! The packed product of inference on the CPU.

use burn::tensor::{Device, Tensor};
use uner_kernels::{PackedWeight, packed_linear};

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
