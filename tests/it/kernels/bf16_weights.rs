//! bf16 weights with f32 activations on the CPU: each op equals its `reference` on the same weight,
//! forward and every gradient, over odd shapes. Gradients of the weight are f32.
//!
//! Gradients are compared with those of the reference on the widened weight. Widening is exact, so
//! both sides compute with the same numbers; the reference on the bf16 weight itself would round
//! its gradient. The tolerance is that of f32.

use burn::tensor::{DType, Device, Tensor};
use uner_kernels::linear_cross_entropy::{IGNORE_INDEX, reference_token_losses};
use uner_kernels::{Labels, linear, linear_cross_entropy, rms_norm, token_losses};

use super::{assert_close, random, refusal};
use crate::devices::cpu;

/// Checks that values are equal and f32.
fn assert_equal<const D: usize>(what: &str, got: &Tensor<D>, expected: &Tensor<D>) {
    assert_eq!(got.dtype(), DType::F32, "{what}: type");
    assert_close(what, got, expected, cpu().tolerance.op);
}

/// Computes the output and the gradients of `x` and the weight for a given gradient of the output.
fn differentiate<const W: usize, const Y: usize>(
    x: Tensor<2>,
    weight: Tensor<W>,
    dy: &Tensor<Y>,
    op: impl Fn(Tensor<2>, Tensor<W>) -> Tensor<Y>,
) -> (Tensor<Y>, Tensor<2>, Tensor<W>) {
    let (x, weight) = (x.autodiff().require_grad(), weight.autodiff().require_grad());
    let y = op(x.clone(), weight.clone());
    let mut graph = y.clone().mul(dy.clone()).sum().backward();
    let gradient = "every input has a gradient";
    (
        y.inner(),
        x.grad_remove(&mut graph).expect(gradient),
        weight.grad_remove(&mut graph).expect(gradient),
    )
}

/// Computes the gradient of `x` with a frozen weight, as under an adapter.
fn differentiate_frozen<const W: usize, const Y: usize>(
    x: Tensor<2>,
    weight: Tensor<W>,
    dy: &Tensor<Y>,
    op: impl Fn(Tensor<2>, Tensor<W>) -> Tensor<Y>,
) -> Tensor<2> {
    let x = x.autodiff().require_grad();
    let mut graph = op(x.clone(), weight.autodiff()).mul(dy.clone()).sum().backward();
    x.grad_remove(&mut graph).expect("`x` has a gradient")
}

fn assert_same<const W: usize, const Y: usize>(
    what: &str,
    (x, weight): (Tensor<2>, Tensor<W>),
    y_shape: [usize; Y],
    kernel: impl Fn(Tensor<2>, Tensor<W>) -> Tensor<Y>,
    reference: impl Fn(Tensor<2>, Tensor<W>) -> Tensor<Y>,
) {
    let dy = random(y_shape);
    let narrow = weight.cast(DType::BF16);
    let wide = narrow.clone().cast(DType::F32);
    let got = differentiate(x.clone(), narrow.clone(), &dy, &kernel);
    let again = differentiate(x.clone(), narrow.clone(), &dy, &kernel);
    let expected = differentiate(x.clone(), wide, &dy, &reference);
    assert_eq!(got.0.clone().into_data(), again.0.into_data(), "{what}: a second run differs");
    assert_eq!(got.1.clone().into_data(), again.1.into_data(), "{what}: a second run differs");
    assert_eq!(got.2.clone().into_data(), again.2.into_data(), "{what}: a second run differs");
    assert_equal(&format!("{what}: output"), &got.0, &expected.0);
    assert_equal(&format!("{what}: gradient of the input"), &got.1, &expected.1);
    assert_equal(&format!("{what}: gradient of the weight"), &got.2, &expected.2);
    assert_equal(
        &format!("{what}: reference on bf16"),
        &reference(x.clone(), narrow.clone()),
        &got.0,
    );
    assert_equal(&format!("{what}: without autodiff"), &kernel(x.clone(), narrow.clone()), &got.0);
    assert_equal(
        &format!("{what}: frozen"),
        &differentiate_frozen(x, narrow, &dy, &kernel),
        &got.1,
    );
}

#[test]
fn linear_reads_bf16() {
    let shapes =
        [[1, 1, 1], [7, 33, 5], [2, 17, 3], [3, 64, 515], [63, 65, 127], [515, 10, 64], [5, 16, 1]];
    // The last two shapes exceed one panel of 4 M elements, for one token and for several.
    for [tokens, input, output] in shapes.into_iter().chain([[1, 2050, 2561], [9, 2050, 2561]]) {
        assert_same(
            &format!("linear {tokens} {input} {output}"),
            (random([tokens, input]), random([output, input])),
            [tokens, output],
            linear,
            uner_kernels::linear::reference,
        );
    }
}

#[test]
fn a_transposed_view_of_a_bf16_weight_is_put_in_order() {
    let (x, weight) = (random([6, 33]), random([33, 7]).cast(DType::BF16).transpose());
    let expected = uner_kernels::linear::reference(x.clone(), weight.clone());
    assert_equal("transposed view", &linear(x, weight), &expected);
}

#[test]
fn rms_norm_reads_bf16() {
    for [tokens, hidden] in [[1, 1], [7, 10], [65, 127], [515, 288]] {
        assert_same(
            &format!("rms_norm {tokens} {hidden}"),
            (random([tokens, hidden]), random([hidden])),
            [tokens, hidden],
            |x, weight| rms_norm(x, weight, 1e-5),
            |x, weight| uner_kernels::rms_norm::reference(x, weight, 1e-5),
        );
    }
}

#[test]
fn linear_cross_entropy_reads_bf16() {
    for ([tokens, hidden, vocab], every) in [
        ([1, 3, 7], 1),
        ([33, 10, 515], 3),
        ([127, 64, 1000], 1),
        ([65, 16, 33], 64),
        ([40, 515, 9001], 1),
    ] {
        let label = |row: usize| {
            if row.is_multiple_of(every) { (row * 31 % vocab) as i32 } else { IGNORE_INDEX }
        };
        let labels = Labels::new(&(0..tokens).map(label).collect::<Vec<_>>(), &Device::flex());
        assert_same(
            &format!("linear_cross_entropy {tokens} {hidden} {vocab}"),
            (random([tokens, hidden]), random([vocab, hidden])),
            [1],
            |h, weight| linear_cross_entropy(h, weight, &labels),
            |h, weight| uner_kernels::linear_cross_entropy::reference(h, weight, &labels),
        );
        let (h, weight) = (random([tokens, hidden]), random([vocab, hidden]).cast(DType::BF16));
        let expected = reference_token_losses(h.clone(), weight.clone(), &labels);
        assert_equal("token losses", &token_losses(h, weight, &labels), &expected);
    }
}

#[test]
fn other_types_are_refused_with_their_shape() {
    let message = refusal(|| drop(linear(random([2, 3]).cast(DType::BF16), random([4, 3]))));
    assert!(message.contains("[2, 3]") && message.contains("BF16"), "{message}");
    let message = refusal(|| drop(linear(random([2, 3]), random([4, 3]).cast(DType::F16))));
    assert!(message.contains("[4, 3]") && message.contains("F16"), "{message}");
    let message = refusal(|| drop(rms_norm(random([2, 3]).cast(DType::BF16), random([3]), 1e-5)));
    assert!(message.contains("[2, 3]") && message.contains("BF16"), "{message}");
    let labels = Labels::new(&[1, 2], &Device::flex());
    let message = refusal(move || {
        drop(token_losses(random([2, 3]), random([5, 3]).cast(DType::F64), &labels));
    });
    assert!(message.contains("[5, 3]") && message.contains("F64"), "{message}");
}
