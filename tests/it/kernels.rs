//! Every op, on every device and in every float type that it serves, equals its `reference` on the CPU in f32, forward and
//! every gradient, over odd shapes. Both get the same values: random ones, rounded to the type.
//!
//! Tolerances are those of [`crate::devices`], of the largest entry and of at least 0.1: both sides add up the same few
//! hundred products of order 1 in another order, and where these cancel, what is left is their rounding.

use burn::tensor::{DType, Device, Distribution, Tensor};
use uner_kernels::linear_cross_entropy::{IGNORE_INDEX, reference_token_losses};
use uner_kernels::{
    AdamWState, AdamWStep, Labels, RotaryTable, adamw, add_rms_norm, linear, linear_cross_entropy, rms_norm,
    rope, swiglu, token_losses,
};

use crate::devices::{Setup, devices, fetch, setups};

const TYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// On the CPU, in f32.
fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn assert_equal<const D: usize>(what: &str, got: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    assert_eq!(got.dims(), expected.dims(), "{what}: shape");
    let values = |tensor: Tensor<D>| -> Vec<f32> { fetch(tensor).try_into_vec_as().unwrap() };
    let (got, expected) = (values(got), values(expected));
    let largest = expected.iter().fold(0.1f32, |largest, value| largest.max(value.abs()));
    let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(got.iter().all(|value| value.is_finite()), "{what}: not finite");
    assert!(worst <= tolerance * largest, "{what}: off by {worst:e}, the largest is {largest:e}");
}

/// Output and the gradients of three inputs, for a random gradient of the output.
fn differentiate<const A: usize, const B: usize, const C: usize, const Y: usize>(
    (a, b, c): (Tensor<A>, Tensor<B>, Tensor<C>),
    dy: &Tensor<Y>,
    op: impl Fn(Tensor<A>, Tensor<B>, Tensor<C>) -> Tensor<Y>,
) -> (Tensor<Y>, Tensor<A>, Tensor<B>, Tensor<C>) {
    let (a, b, c) = (a.autodiff().require_grad(), b.autodiff().require_grad(), c.autodiff().require_grad());
    let y = op(a.clone(), b.clone(), c.clone());
    // The gradient of every element of the product is 1, so that of `y` is `dy`, exactly.
    let mut graph = y.clone().mul(dy.clone()).backward();
    let gradient = "every input has a gradient";
    (
        y.inner(),
        a.grad_remove(&mut graph).expect(gradient),
        b.grad_remove(&mut graph).expect(gradient),
        c.grad_remove(&mut graph).expect(gradient),
    )
}

fn assert_same<const A: usize, const B: usize, const C: usize, const Y: usize>(
    (setup, what): (&Setup, &str),
    inputs: (Tensor<A>, Tensor<B>, Tensor<C>),
    y_shape: [usize; Y],
    kernel: impl Fn(Tensor<A>, Tensor<B>, Tensor<C>) -> Tensor<Y>,
    reference: impl Fn(Tensor<A>, Tensor<B>, Tensor<C>) -> Tensor<Y>,
) {
    let what = |part: &str| format!("{what} on {setup}: {part}");
    let inputs = (setup.put(inputs.0), setup.put(inputs.1), setup.put(inputs.2));
    let rounded = (fetch(inputs.0.clone()), fetch(inputs.1.clone()), fetch(inputs.2.clone()));
    let plain = kernel(inputs.0.clone(), inputs.1.clone(), inputs.2.clone());
    // The loss is f32 whatever the type of its inputs.
    let dy = Tensor::from_data(random(y_shape).into_data(), (&setup.device, plain.dtype()));
    let got = differentiate(inputs.clone(), &dy, &kernel);
    let again = differentiate(inputs, &dy, &kernel);
    let expected = differentiate(rounded, &fetch(dy), reference);

    let tolerance = setup.tolerance.op;
    assert_equal(&what("output without autodiff"), plain, fetch(got.0.clone()), tolerance);
    assert_eq!(got.0.clone().into_data(), again.0.into_data(), "{}", what("a second run differs"));
    assert_eq!(got.1.clone().into_data(), again.1.into_data(), "{}", what("a second run differs"));
    assert_eq!(got.2.clone().into_data(), again.2.into_data(), "{}", what("a second run differs"));
    assert_equal(&what("output"), got.0, expected.0, tolerance);
    assert_equal(&what("gradient of the first input"), got.1, expected.1, tolerance);
    assert_equal(&what("gradient of the second input"), got.2, expected.2, tolerance);
    assert_equal(&what("gradient of the third input"), got.3, expected.3, tolerance);
}

#[test]
fn linear_equals_its_reference() {
    for setup in setups(&TYPES) {
        for [tokens, input, output] in [[1, 1, 1], [7, 33, 5], [63, 65, 127], [515, 10, 64]] {
            assert_same(
                (&setup, &format!("linear {tokens} {input} {output}")),
                (random([tokens, input]), random([output, input]), random([tokens, output])),
                [tokens, output],
                |x, weight, other| linear(x, weight).add(other),
                |x, weight, other| uner_kernels::linear::reference(x, weight).add(other),
            );
        }
    }
}

#[test]
fn rms_norm_equals_its_reference() {
    for setup in setups(&TYPES) {
        for [tokens, hidden] in [[1, 1], [7, 10], [33, 64], [65, 127], [515, 288]] {
            assert_same(
                (&setup, &format!("rms_norm {tokens} {hidden}")),
                (random([tokens, hidden]), random([hidden]), random([tokens, hidden])),
                [tokens, hidden],
                |x, weight, residual| {
                    let (sum, normed) = add_rms_norm(x, residual, weight.clone(), 1e-5);
                    rms_norm(sum.add(normed), weight, 1e-6)
                },
                |x, weight, residual| {
                    let (sum, normed) =
                        uner_kernels::rms_norm::reference_add(x, residual, weight.clone(), 1e-5);
                    uner_kernels::rms_norm::reference(sum.add(normed), weight, 1e-6)
                },
            );
        }
    }
}

#[test]
fn rope_equals_its_reference() {
    for setup in setups(&TYPES) {
        for shape in [[1, 1, 1, 2], [2, 7, 3, 10], [3, 63, 4, 16], [1, 515, 2, 64]] {
            let [rows, tokens, _, head_dim] = shape;
            let positions: Vec<i32> = (0..rows * tokens).map(|index| (index * 7 % 129) as i32).collect();
            let frequencies: Vec<f32> = (0..head_dim / 2).map(|pair| 0.7f32.powi(pair as i32)).collect();
            let table = |device: &Device| RotaryTable::new(&positions, rows, &frequencies, device);
            let (here, on_cpu) = (table(&setup.device), table(&Device::flex()));
            assert_same(
                (&setup, &format!("rope {shape:?}")),
                (random(shape), random(shape), random(shape)),
                shape,
                |x, a, b| rope(x, &here).add(a.mul(b)),
                |x, a, b| uner_kernels::rope::reference(x, &on_cpu).add(a.mul(b)),
            );
        }
    }
}

#[test]
fn swiglu_equals_its_reference() {
    for setup in setups(&TYPES) {
        for shape in [[1, 1], [7, 83], [127, 515]] {
            assert_same(
                (&setup, &format!("swiglu {shape:?}")),
                (random(shape).mul_scalar(10.0), random(shape), random(shape)),
                shape,
                |gate, up, other| swiglu(gate, up).add(other),
                |gate, up, other| uner_kernels::swiglu::reference(gate, up).add(other),
            );
        }
    }
}

#[test]
fn linear_cross_entropy_equals_its_reference() {
    for setup in setups(&TYPES) {
        for ([tokens, hidden, vocab], every) in
            [([1, 3, 7], 1), ([33, 10, 515], 3), ([127, 64, 1000], 1), ([65, 16, 33], 64)]
        {
            let label =
                |row: usize| if row.is_multiple_of(every) { (row * 31 % vocab) as i32 } else { IGNORE_INDEX };
            let labels = |device: &Device| Labels::new(&(0..tokens).map(label).collect::<Vec<_>>(), device);
            let (here, on_cpu) = (labels(&setup.device), labels(&Device::flex()));
            let what = format!("linear_cross_entropy {tokens} {hidden} {vocab}");
            assert_same(
                (&setup, &what),
                (random([tokens, hidden]), random([vocab, hidden]), random([1])),
                [1],
                |h, weight, other| linear_cross_entropy(h, weight, &here).add(other.cast(DType::F32)),
                |h, weight, other| {
                    uner_kernels::linear_cross_entropy::reference(h, weight, &on_cpu).add(other)
                },
            );
            let (h, weight) = (setup.put(random([tokens, hidden])), setup.put(random([vocab, hidden])));
            let expected = reference_token_losses(fetch(h.clone()), fetch(weight.clone()), &on_cpu);
            assert_equal(&what, token_losses(h, weight, &here), expected, setup.tolerance.op);
        }
    }
}

#[test]
fn no_trained_row_is_no_loss_and_no_gradient() {
    for setup in setups(&TYPES) {
        let labels = Labels::new(&[IGNORE_INDEX; 5], &setup.device);
        let hidden = setup.put(random([5, 4])).autodiff().require_grad();
        let loss = linear_cross_entropy(hidden.clone(), setup.put(random([9, 4])), &labels);
        let mut graph = loss.clone().backward();
        assert_eq!(loss.into_scalar::<f32>(), 0.0, "{setup}");
        let gradient: Vec<f32> = fetch(hidden.grad_remove(&mut graph).unwrap()).try_into_vec_as().unwrap();
        assert_eq!(gradient, [0.0; 20], "{setup}");
    }
}

/// The state of a parameter that has been updated before.
fn adamw_state(param: &Tensor<1>) -> AdamWState {
    let [count] = param.dims();
    let master = (param.dtype() != DType::F32).then(|| param.clone().cast(DType::F32));
    let on_device = |values: Tensor<1>| Tensor::from_data(values.into_data(), (&param.device(), DType::F32));
    AdamWState {
        master,
        exp_avg: on_device(random([count])),
        exp_avg_sq: on_device(random([count]).square()),
    }
}

fn fetch_state(state: &AdamWState) -> AdamWState {
    AdamWState {
        master: state.master.clone().map(fetch),
        exp_avg: fetch(state.exp_avg.clone()),
        exp_avg_sq: fetch(state.exp_avg_sq.clone()),
    }
}

#[test]
fn adamw_equals_its_reference_and_keeps_what_others_hold() {
    let step = AdamWStep {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 3,
        grad_scale: 0.5,
    };
    // The moments and the master are f32 whatever the type of the parameter.
    let exact = devices()[0].tolerance.op;
    for setup in setups(&TYPES) {
        for count in [1, 63, 70_000] {
            let what = |part: &str| format!("adamw {count} on {setup}: {part}");
            let (param, grad) = (setup.put(random([count])), setup.put(random([count])));
            let state = adamw_state(&param);
            let before = param.clone().into_data();
            let (expected, expected_state) = uner_kernels::adamw::reference(
                fetch(param.clone()),
                fetch(grad.clone()),
                fetch_state(&state),
                &step,
            );
            let (got, got_state) = adamw(param.clone(), grad, state, &step);
            assert_eq!(
                param.into_data(),
                before,
                "{}",
                what("a parameter that is held elsewhere was changed")
            );
            assert_eq!(got.dtype(), setup.dtype, "{}", what("type"));
            assert_equal(&what("parameter"), got, expected, setup.tolerance.op);
            assert_equal(&what("first moment"), got_state.exp_avg, expected_state.exp_avg, exact);
            assert_equal(&what("second moment"), got_state.exp_avg_sq, expected_state.exp_avg_sq, exact);
            assert_eq!(got_state.master.is_some(), expected_state.master.is_some(), "{}", what("master"));
            if let (Some(got), Some(expected)) = (got_state.master, expected_state.master) {
                assert_equal(&what("master"), got, expected, exact);
            }
        }
    }
}
