//! The kernels without a matrix product: odd sizes, inputs that are not contiguous, inputs that want no gradient.

use burn::tensor::{DType, Device, Tensor};
use uner_kernels::{RotaryTable, add_rms_norm, rms_norm, rope, squared_norm, swiglu};

use super::{TYPES, assert_close, assert_same, differentiate, put, random, values};
use crate::devices::{cpu, devices, fetch, setups};

/// Odd sizes, a width that fills vectors but no power of two, and one of which a unit keeps many vectors.
const ROWS: [[usize; 2]; 9] =
    [[1, 1], [7, 33], [33, 7], [63, 65], [127, 63], [65, 515], [515, 127], [33, 288], [3, 4096]];

#[test]
fn rms_norm_on_every_device() {
    for [tokens, hidden] in ROWS {
        let weight = random([1, hidden]);
        assert_same(
            &format!("rms_norm {tokens} {hidden}"),
            &[random([tokens, hidden]), weight],
            &random([tokens, hidden]),
            |inputs, _| rms_norm(inputs[0].clone(), inputs[1].clone().reshape([-1]), 1e-5),
            |inputs, _| {
                uner_kernels::rms_norm::reference(inputs[0].clone(), inputs[1].clone().reshape([-1]), 1e-5)
            },
        );
    }
}

/// Both results side by side, so that both have a gradient.
fn both([sum, normed]: [Tensor<2>; 2]) -> Tensor<2> {
    Tensor::cat(vec![sum, normed], 1)
}

#[test]
fn add_rms_norm_on_every_device() {
    for [tokens, hidden] in ROWS {
        assert_same(
            &format!("add_rms_norm {tokens} {hidden}"),
            &[random([tokens, hidden]), random([tokens, hidden]), random([1, hidden])],
            &random([tokens, 2 * hidden]),
            |inputs, _| {
                let [x, residual, weight] = [0, 1, 2].map(|index| inputs[index].clone());
                both(add_rms_norm(x, residual, weight.reshape([-1]), 1e-5).into())
            },
            |inputs, _| {
                let [x, residual, weight] = [0, 1, 2].map(|index| inputs[index].clone());
                both(uner_kernels::rms_norm::reference_add(x, residual, weight.reshape([-1]), 1e-5).into())
            },
        );
    }
}

/// 65,535 cubes are the most that WebGPU starts.
#[test]
fn more_rows_than_cubes_take_turns() {
    let (x, weight) = (random([70_001, 3]), random([3]));
    let expected = uner_kernels::rms_norm::reference(x.clone(), weight.clone(), 1e-5);
    for setup in devices() {
        let got = rms_norm(setup.put(x.clone()), setup.put(weight.clone()), 1e-5);
        assert_close(&format!("rms_norm of many rows on {setup}"), &got, &expected, setup.tolerance.op);
    }
}

#[test]
fn a_weight_may_have_another_type_than_the_rows() {
    for setup in setups(&TYPES) {
        let (x, dy) = (setup.put(random([33, 65])), setup.put(random([33, 65])));
        let weight = Tensor::<1>::from_data(random([65]).into_data(), (&setup.device, DType::F32));
        let gradient = |x: Tensor<2>, weight: Tensor<1>, dy: Tensor<2>, norm: fn(_, _, f64) -> Tensor<2>| {
            let weight = weight.autodiff().require_grad();
            let y = norm(x.autodiff().require_grad(), weight.clone(), 1e-5);
            let mut graph = y.clone().mul(dy).backward();
            (y.inner(), weight.grad_remove(&mut graph).expect("a gradient"))
        };
        let (y, dweight) = gradient(x.clone(), weight.clone(), dy.clone(), rms_norm);
        assert_eq!((y.dtype(), dweight.dtype()), (setup.dtype, DType::F32), "{setup}");
        let (expected_y, expected) =
            gradient(fetch(x), fetch(weight), fetch(dy), uner_kernels::rms_norm::reference);
        assert_close(&format!("output on {setup}"), &y, &expected_y, setup.tolerance.op);
        let what = format!("gradient of the weight on {setup}");
        assert_close(&what, &dweight, &expected, setup.tolerance.op);
    }
}

#[test]
fn a_frozen_input_of_the_norm_changes_no_other_gradient() {
    for setup in setups(&TYPES) {
        let inputs = [random([65, 33]), random([65, 33]), random([1, 33])].map(|input| setup.put(input));
        let dy = setup.put(random([65, 66]));
        let gradients = |tracked: [bool; 3]| {
            let outcome = differentiate(&inputs, &tracked, &dy, |inputs| {
                let [x, residual, weight] = [0, 1, 2].map(|index| inputs[index].clone());
                both(add_rms_norm(x, residual, weight.reshape([-1]), 1e-5).into())
            });
            outcome.gradients.into_iter().map(|gradient| gradient.map(Tensor::into_data)).collect::<Vec<_>>()
        };
        let all = gradients([true; 3]);
        assert!(all.iter().all(Option::is_some), "{setup}");
        for tracked in [[true, true, false], [true, false, false], [false, true, true], [false, false, true]]
        {
            let expected: Vec<_> = all
                .iter()
                .zip(tracked)
                .map(|(gradient, tracked)| gradient.clone().filter(|_| tracked))
                .collect();
            assert_eq!(gradients(tracked), expected, "{setup} {tracked:?}");
        }
    }
}

#[test]
fn inputs_that_are_not_contiguous() {
    let [tokens, hidden] = [33, 72];
    // The inputs are columns 3.. and rows ..33 of what is kept the other way around.
    let view = |tensor: &Tensor<2>| tensor.clone().transpose().narrow(1, 3, hidden).narrow(0, 0, tokens);
    let stored = || random([hidden + 8, tokens + 2]);
    // The transposed result makes the gradient that comes in a view as well.
    let dy = random([hidden, tokens]);
    assert_same(
        "add_rms_norm of views",
        &[stored(), stored(), random([1, hidden])],
        &dy,
        |inputs, _| {
            let weight = inputs[2].clone().reshape([-1]);
            add_rms_norm(view(&inputs[0]), view(&inputs[1]), weight, 1e-5).1.transpose()
        },
        |inputs, _| {
            let weight = inputs[2].clone().reshape([-1]);
            let (x, residual) = (view(&inputs[0]), view(&inputs[1]));
            uner_kernels::rms_norm::reference_add(x, residual, weight, 1e-5).1.transpose()
        },
    );
    assert_same(
        "swiglu of views",
        &[stored(), stored()],
        &dy,
        |inputs, _| swiglu(view(&inputs[0]), view(&inputs[1])).transpose(),
        |inputs, _| uner_kernels::swiglu::reference(view(&inputs[0]), view(&inputs[1])).transpose(),
    );
}

#[test]
fn swiglu_on_every_device() {
    for [tokens, width] in ROWS {
        assert_same(
            &format!("swiglu {tokens} {width}"),
            &[random([tokens, width]).mul_scalar(10.0), random([tokens, width])],
            &random([tokens, width]),
            |inputs, _| swiglu(inputs[0].clone(), inputs[1].clone()),
            |inputs, _| uner_kernels::swiglu::reference(inputs[0].clone(), inputs[1].clone()),
        );
    }
}

#[test]
fn swiglu_of_large_gates_is_finite() {
    let gates: Vec<f32> = vec![-3e4, -200.0, -89.0, -88.0, -20.0, 0.0, 20.0, 88.0, 89.0, 200.0, 3e4];
    let width = gates.len();
    let gate = Tensor::<1>::from_data(gates.as_slice(), &Device::flex()).reshape([1, width]);
    // Compared entry by entry: these differ by orders of magnitude.
    for setup in setups(&TYPES) {
        let one = Tensor::ones([1, width], &Device::flex());
        let inputs = [gate.clone(), one.clone()].map(|tensor| setup.put(tensor));
        let gates = values(&inputs[0]);
        let outcome = differentiate(&inputs, &[true; 2], &setup.put(one), |inputs| {
            swiglu(inputs[0].clone(), inputs[1].clone())
        });
        let sigmoid = |gate: f64| 1.0 / (1.0 + (-gate).exp());
        let slope = |gate: f64| sigmoid(gate) * (1.0 + gate * (1.0 - sigmoid(gate)));
        let silu = |gate: f64| gate * sigmoid(gate);
        let expected: [&dyn Fn(f64) -> f64; 3] = [&silu, &slope, &silu];
        let results = [Some(outcome.y)].into_iter().chain(outcome.gradients);
        for (result, expected) in results.zip(expected) {
            for (got, &gate) in values(&result.expect("a gradient")).into_iter().zip(&gates) {
                let expected = expected(f64::from(gate));
                let unit = if setup.dtype == DType::BF16 { 8e-3 } else { 1e-3 };
                let near = (f64::from(got) - expected).abs() <= unit * expected.abs() + 1e-6;
                assert!(near, "{setup}: {got} of {gate} is not {expected}");
            }
        }
    }
}

#[test]
fn rope_on_every_device() {
    for shape @ [rows, tokens, heads, head_dim] in
        [[1, 1, 1, 2], [2, 7, 3, 10], [3, 63, 4, 16], [1, 127, 2, 64], [2, 33, 1, 80], [1, 65, 3, 128]]
    {
        let positions: Vec<i32> = (0..rows * tokens).map(|index| (index * 7 % 129) as i32).collect();
        let frequencies: Vec<f32> = (0..head_dim / 2).map(|pair| 0.7f32.powi(pair as i32)).collect();
        let table = |device: &Device| RotaryTable::new(&positions, rows, &frequencies, device);
        assert_same(
            &format!("rope {shape:?}"),
            &[random(shape)],
            &random(shape),
            |inputs, device| rope(inputs[0].clone(), &table(device)),
            |inputs, device| uner_kernels::rope::reference(inputs[0].clone(), &table(device)),
        );
        let view = |stored: &Tensor<4>| stored.clone().swap_dims(1, 2).narrow(2, 1, heads);
        assert_same(
            &format!("rope of a view {shape:?}"),
            &[random([rows, heads + 1, tokens, head_dim])],
            &random(shape),
            |inputs, device| rope(view(&inputs[0]), &table(device)),
            |inputs, device| uner_kernels::rope::reference(view(&inputs[0]), &table(device)),
        );
    }
}

/// On the CPU, too, gradients may be bf16.
#[test]
fn squared_norm_on_every_device() {
    for count in [1, 7, 63, 515, 288 * 33, 70_000, 3_000_001] {
        let gradient = random([count]);
        let (all, cpu) = (setups(&TYPES), cpu());
        for (setup, dtype) in all.iter().map(|setup| (setup, setup.dtype)).chain([(&cpu, DType::BF16)]) {
            let what = format!("squared_norm {count} {dtype:?} on {setup}");
            let ours = put(&gradient, &setup.device, dtype);
            let expected: f64 = values(&ours).iter().map(|value| f64::from(*value).powi(2)).sum();
            let reference = uner_kernels::squared_norm::reference(fetch(ours.clone()));
            let [got, again] = [0; 2].map(|_| squared_norm(ours.clone()));
            assert_eq!((got.dtype(), got.dims()), (DType::F32, [1]), "{what}");
            assert_close(&format!("{what}: reference"), &got, &reference, 1e-4);
            // Sums of at most a few thousand f32 one after the other, each off by half a unit in the last place.
            let error = (f64::from(values(&got)[0]) / expected - 1.0).abs();
            assert!(error < 1e-5, "{what}: off by {error:e}");
            assert_eq!(got.into_data(), again.into_data(), "{what}: a second run differs");
        }
    }
    for setup in devices() {
        assert_eq!(values(&squared_norm(Tensor::empty([0], &setup.device))), [0.0], "{setup}");
    }
}
