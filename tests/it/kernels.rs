//! Every op equals its `reference`, forward and every gradient, over odd shapes.
//!
//! Tolerance 2e-5 of the largest entry, and of at least 0.1: both sides add up the same few hundred f32 products of order
//! 1 in another order, and where these cancel, what is left is their rounding.

use burn::tensor::{Device, Distribution, Tensor};
use uner_kernels::linear_cross_entropy::{IGNORE_INDEX, reference_token_losses};
use uner_kernels::{
    AdamWState, AdamWStep, Labels, RotaryTable, adamw, add_rms_norm, linear, linear_cross_entropy, rms_norm,
    rope, swiglu, token_losses,
};

const TOLERANCE: f32 = 2e-5;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn assert_equal<const D: usize>(what: &str, got: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(got.dims(), expected.dims(), "{what}: shape");
    let (got, expected): (Vec<f32>, Vec<f32>) =
        (got.try_into_vec_as().unwrap(), expected.try_into_vec_as().unwrap());
    let largest = expected.iter().fold(0.1f32, |largest, value| largest.max(value.abs()));
    let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(got.iter().all(|value| value.is_finite()), "{what}: not finite");
    assert!(worst <= TOLERANCE * largest, "{what}: off by {worst:e}, the largest is {largest:e}");
}

/// Output and the gradients of three inputs, for a random gradient of the output.
fn differentiate<const A: usize, const B: usize, const C: usize, const Y: usize>(
    (a, b, c): (Tensor<A>, Tensor<B>, Tensor<C>),
    dy: &Tensor<Y>,
    op: impl Fn(Tensor<A>, Tensor<B>, Tensor<C>) -> Tensor<Y>,
) -> (Tensor<Y>, Tensor<A>, Tensor<B>, Tensor<C>) {
    let (a, b, c) = (a.autodiff().require_grad(), b.autodiff().require_grad(), c.autodiff().require_grad());
    let y = op(a.clone(), b.clone(), c.clone());
    let mut graph = y.clone().mul(dy.clone()).sum().backward();
    let gradient = "every input has a gradient";
    (
        y.inner(),
        a.grad_remove(&mut graph).expect(gradient),
        b.grad_remove(&mut graph).expect(gradient),
        c.grad_remove(&mut graph).expect(gradient),
    )
}

fn assert_same<const A: usize, const B: usize, const C: usize, const Y: usize>(
    what: &str,
    inputs: (Tensor<A>, Tensor<B>, Tensor<C>),
    y_shape: [usize; Y],
    kernel: impl Fn(Tensor<A>, Tensor<B>, Tensor<C>) -> Tensor<Y>,
    reference: impl Fn(Tensor<A>, Tensor<B>, Tensor<C>) -> Tensor<Y>,
) {
    let dy = random(y_shape);
    let plain = kernel(inputs.0.clone(), inputs.1.clone(), inputs.2.clone());
    let got = differentiate(inputs.clone(), &dy, &kernel);
    let again = differentiate(inputs.clone(), &dy, &kernel);
    let expected = differentiate(inputs, &dy, reference);
    assert_equal(&format!("{what}: output"), got.0.clone(), expected.0);
    assert_equal(&format!("{what}: output without autodiff"), plain, got.0.clone());
    assert_eq!(got.0.into_data(), again.0.into_data(), "{what}: a second run differs");
    assert_eq!(got.1.clone().into_data(), again.1.into_data(), "{what}: a second run differs");
    assert_eq!(got.2.clone().into_data(), again.2.into_data(), "{what}: a second run differs");
    assert_equal(&format!("{what}: gradient of the first input"), got.1, expected.1);
    assert_equal(&format!("{what}: gradient of the second input"), got.2, expected.2);
    assert_equal(&format!("{what}: gradient of the third input"), got.3, expected.3);
}

#[test]
fn linear_equals_its_reference() {
    for [tokens, input, output] in [[1, 1, 1], [7, 33, 5], [63, 65, 127], [515, 10, 64]] {
        assert_same(
            &format!("linear {tokens} {input} {output}"),
            (random([tokens, input]), random([output, input]), random([1])),
            [tokens, output],
            |x, weight, one| linear(x, weight).mul(one.unsqueeze()),
            |x, weight, one| uner_kernels::linear::reference(x, weight).mul(one.unsqueeze()),
        );
    }
}

#[test]
fn rms_norm_equals_its_reference() {
    for [tokens, hidden] in [[1, 1], [7, 10], [33, 64], [65, 127], [515, 288]] {
        assert_same(
            &format!("rms_norm {tokens} {hidden}"),
            (random([tokens, hidden]), random([hidden]), random([tokens, hidden])),
            [tokens, hidden],
            |x, weight, residual| {
                let (sum, normed) = add_rms_norm(x, residual, weight.clone(), 1e-5);
                rms_norm(sum.add(normed), weight, 1e-6)
            },
            |x, weight, residual| {
                let (sum, normed) = uner_kernels::rms_norm::reference_add(x, residual, weight.clone(), 1e-5);
                uner_kernels::rms_norm::reference(sum.add(normed), weight, 1e-6)
            },
        );
    }
}

#[test]
fn rope_equals_its_reference() {
    for [rows, tokens, heads, head_dim] in [[1, 1, 1, 2], [2, 7, 3, 10], [3, 63, 4, 16], [1, 515, 2, 64]] {
        let positions: Vec<i32> = (0..rows * tokens).map(|index| (index * 7 % 129) as i32).collect();
        let frequencies: Vec<f32> = (0..head_dim / 2).map(|pair| 0.7f32.powi(pair as i32)).collect();
        let table = RotaryTable::new(&positions, rows, &frequencies, &Device::flex());
        assert_same(
            &format!("rope {rows} {tokens} {heads} {head_dim}"),
            (random([rows, tokens, heads, head_dim]), random([1]), random([1])),
            [rows, tokens, heads, head_dim],
            |x, one, other| rope(x, &table).mul(one.mul(other).reshape([1, 1, 1, 1])),
            |x, one, other| {
                uner_kernels::rope::reference(x, &table).mul(one.mul(other).reshape([1, 1, 1, 1]))
            },
        );
    }
}

#[test]
fn swiglu_equals_its_reference() {
    for [tokens, width] in [[1, 1], [7, 83], [127, 515]] {
        assert_same(
            &format!("swiglu {tokens} {width}"),
            (random([tokens, width]).mul_scalar(10.0), random([tokens, width]), random([1])),
            [tokens, width],
            |gate, up, one| swiglu(gate, up).mul(one.unsqueeze()),
            |gate, up, one| uner_kernels::swiglu::reference(gate, up).mul(one.unsqueeze()),
        );
    }
}

#[test]
fn linear_cross_entropy_equals_its_reference() {
    let device = Device::flex();
    for ([tokens, hidden, vocab], every) in
        [([1, 3, 7], 1), ([33, 10, 515], 3), ([127, 64, 1000], 1), ([65, 16, 33], 64)]
    {
        let label =
            |row: usize| if row.is_multiple_of(every) { (row * 31 % vocab) as i32 } else { IGNORE_INDEX };
        let labels = Labels::new(&(0..tokens).map(label).collect::<Vec<_>>(), &device);
        assert_same(
            &format!("linear_cross_entropy {tokens} {hidden} {vocab}"),
            (random([tokens, hidden]), random([vocab, hidden]), random([1])),
            [1],
            |h, weight, one| linear_cross_entropy(h, weight, &labels).mul(one),
            |h, weight, one| uner_kernels::linear_cross_entropy::reference(h, weight, &labels).mul(one),
        );
        let (h, weight) = (random([tokens, hidden]), random([vocab, hidden]));
        let expected = reference_token_losses(h.clone(), weight.clone(), &labels);
        assert_equal("token losses", token_losses(h, weight, &labels), expected);
    }
}

#[test]
fn no_trained_row_is_no_loss_and_no_gradient() {
    let labels = Labels::new(&[IGNORE_INDEX; 5], &Device::flex());
    let hidden = random([5, 4]).autodiff().require_grad();
    let loss = linear_cross_entropy(hidden.clone(), random([9, 4]), &labels);
    let mut graph = loss.clone().backward();
    assert_eq!(loss.into_scalar::<f32>(), 0.0);
    let gradient: Vec<f32> = hidden.grad_remove(&mut graph).unwrap().try_into_vec_as().unwrap();
    assert_eq!(gradient, [0.0; 20]);
}

#[test]
fn adamw_equals_its_reference_and_keeps_what_others_hold() {
    for count in [1, 63, 70_000] {
        let (param, grad) = (random([count]), random([count]));
        let fresh =
            || AdamWState { master: None, exp_avg: random([count]), exp_avg_sq: random([count]).square() };
        let state = fresh();
        let step = AdamWStep {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 3,
            grad_scale: 0.5,
        };
        let before = param.clone().into_data();
        let (expected, expected_state) =
            uner_kernels::adamw::reference(param.clone(), grad.clone(), state.clone(), &step);
        let (got, got_state) = adamw(param.clone(), grad, state, &step);
        assert_eq!(param.into_data(), before, "a parameter that is held elsewhere was changed");
        assert_equal("parameter", got, expected);
        assert_equal("first moment", got_state.exp_avg, expected_state.exp_avg);
        assert_equal("second moment", got_state.exp_avg_sq, expected_state.exp_avg_sq);
    }
}
