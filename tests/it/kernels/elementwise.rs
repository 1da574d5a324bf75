//! The kernels without a matrix product: odd sizes, inputs that are not contiguous, and inputs
//! without a gradient.

use burn::tensor::{DType, Device, Tensor};
use uner_kernels::{
    RotaryTable, accumulate, add_rms_norm, add_rows, fork_rms_norm, rms_norm, rope, squared_norms,
    swiglu,
};

use super::{TYPES, assert_close, assert_same, differentiate, put, random, values};
use crate::devices::{cpu, devices, fetch, setups};

/// Odd sizes, a width that fills vectors but is not a power of two, and one of many vectors per
/// unit.
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
                uner_kernels::rms_norm::reference(
                    inputs[0].clone(),
                    inputs[1].clone().reshape([-1]),
                    1e-5,
                )
            },
        );
    }
}

/// Concatenates both results, so that both have a gradient.
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
                both(
                    uner_kernels::rms_norm::reference_add(x, residual, weight.reshape([-1]), 1e-5)
                        .into(),
                )
            },
        );
    }
}

#[test]
fn fork_rms_norm_on_every_device() {
    for [tokens, hidden] in ROWS {
        assert_same(
            &format!("fork_rms_norm {tokens} {hidden}"),
            &[random([tokens, hidden]), random([1, hidden])],
            &random([tokens, 2 * hidden]),
            |inputs, _| {
                both(fork_rms_norm(inputs[0].clone(), inputs[1].clone().reshape([-1]), 1e-5).into())
            },
            |inputs, _| {
                let (x, weight) = (inputs[0].clone(), inputs[1].clone().reshape([-1]));
                both([x.clone(), uner_kernels::rms_norm::reference(x, weight, 1e-5)])
            },
        );
    }
}

/// The normed tensor is used twice more, and the sum is normed again, as in a transformer block.
#[test]
fn forks_of_forks_have_all_their_gradients() {
    let [tokens, hidden] = [33, 65];
    assert_same(
        "forks in a row",
        &[random([tokens, hidden]), random([1, hidden])],
        &random([tokens, hidden]),
        |inputs, _| {
            let weight: Tensor<1> = inputs[1].clone().reshape([-1]);
            let (x, y) = fork_rms_norm(inputs[0].clone(), weight.clone(), 1e-5);
            let (h, z) = add_rms_norm(y.mul(x.clone()), x, weight, 1e-5);
            h.clone().add(z.mul(h))
        },
        |inputs, _| {
            let weight: Tensor<1> = inputs[1].clone().reshape([-1]);
            let x = inputs[0].clone();
            let y = uner_kernels::rms_norm::reference(x.clone(), weight.clone(), 1e-5);
            let (h, z) = uner_kernels::rms_norm::reference_add(y.mul(x.clone()), x, weight, 1e-5);
            h.clone().add(z.mul(h))
        },
    );
}

/// Tests a norm whose input has no other use in the differentiated graph, and a graph that is not
/// differentiated.
#[test]
fn a_fork_may_end_in_its_norm() {
    for setup in devices() {
        let [x, weight] = [random([7, 33]), random([1, 33])].map(|input| setup.put(input));
        let dy = setup.put(random([7, 33]));
        let gradients = |fork: bool| {
            differentiate(&[x.clone(), weight.clone()], &[true; 2], &dy, |inputs| {
                let (x, weight) = (inputs[0].clone(), inputs[1].clone().reshape([-1]));
                if fork { fork_rms_norm(x, weight, 1e-5).1 } else { rms_norm(x, weight, 1e-5) }
            })
        };
        let data = |gradients: Vec<Option<Tensor<2>>>| {
            gradients
                .into_iter()
                .map(|gradient| gradient.map(Tensor::into_data))
                .collect::<Vec<_>>()
        };
        assert_eq!(data(gradients(true).gradients), data(gradients(false).gradients), "{setup}");
        let tracked = x.clone().autodiff().require_grad();
        drop(fork_rms_norm(tracked, weight.clone().autodiff().reshape([-1]), 1e-5));
    }
}

/// With more rows than cubes each cube processes several rows, and the last cubes process fewer.
#[test]
fn more_rows_than_cubes_take_turns() {
    for [tokens, hidden] in [[70_001, 3], [515, 288]] {
        assert_same(
            &format!("rms_norm of many rows {tokens} {hidden}"),
            &[random([tokens, hidden]), random([1, hidden])],
            &random([tokens, 2 * hidden]).mul_scalar(1.0 / 16.0),
            |inputs, _| {
                both(fork_rms_norm(inputs[0].clone(), inputs[1].clone().reshape([-1]), 1e-5).into())
            },
            |inputs, _| {
                let (x, weight) = (inputs[0].clone(), inputs[1].clone().reshape([-1]));
                both([x.clone(), uner_kernels::rms_norm::reference(x, weight, 1e-5)])
            },
        );
    }
}

#[test]
fn a_weight_may_have_another_type_than_the_rows() {
    for setup in setups(&TYPES) {
        let (x, dy) = (setup.put(random([33, 65])), setup.put(random([33, 65])));
        let weight = Tensor::<1>::from_data(random([65]).into_data(), (&setup.device, DType::F32));
        let gradient =
            |x: Tensor<2>, weight: Tensor<1>, dy: Tensor<2>, norm: fn(_, _, f64) -> Tensor<2>| {
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
        let inputs =
            [random([65, 33]), random([65, 33]), random([1, 33])].map(|input| setup.put(input));
        let dy = setup.put(random([65, 66]));
        let gradients = |tracked: [bool; 3]| {
            let outcome = differentiate(&inputs, &tracked, &dy, |inputs| {
                let [x, residual, weight] = [0, 1, 2].map(|index| inputs[index].clone());
                both(add_rms_norm(x, residual, weight.reshape([-1]), 1e-5).into())
            });
            outcome
                .gradients
                .into_iter()
                .map(|gradient| gradient.map(Tensor::into_data))
                .collect::<Vec<_>>()
        };
        let all = gradients([true; 3]);
        assert!(all.iter().all(Option::is_some), "{setup}");
        for tracked in
            [[true, true, false], [true, false, false], [false, true, true], [false, false, true]]
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
    // The inputs are columns 3.. and rows ..33 of the transposes of stored tensors.
    let view =
        |tensor: &Tensor<2>| tensor.clone().transpose().narrow(1, 3, hidden).narrow(0, 0, tokens);
    let stored = || random([hidden + 8, tokens + 2]);
    // The transposed result makes the incoming gradient a view as well.
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
    let gates: Vec<f32> =
        vec![-3e4, -200.0, -89.0, -88.0, -20.0, 0.0, 20.0, 88.0, 89.0, 200.0, 3e4];
    let width = gates.len();
    let gate = Tensor::<1>::from_data(gates.as_slice(), &Device::flex()).reshape([1, width]);
    // Entries are compared one by one, since they differ by orders of magnitude.
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

/// Concatenates queries and keys: `[rows · tokens, channels]`.
fn side_by_side([q, k]: [Tensor<4>; 2]) -> Tensor<2> {
    let [rows, tokens, ..] = q.dims();
    both([q, k].map(|x| x.reshape([(rows * tokens) as i32, -1])))
}

#[test]
fn rope_on_every_device() {
    for ([rows, tokens, heads, head_dim], keys) in [
        ([1, 1, 1, 2], 1),
        ([2, 7, 3, 10], 3),
        ([3, 63, 4, 16], 2),
        ([1, 127, 2, 64], 1),
        ([2, 33, 1, 80], 1),
        ([1, 65, 3, 128], 3),
    ] {
        let positions: Vec<i32> =
            (0..rows * tokens).map(|index| (index * 7 % 129) as i32).collect();
        let frequencies: Vec<f32> =
            (0..head_dim / 2).map(|pair| 0.7f32.powi(pair as i32)).collect();
        let table = |device: &Device| RotaryTable::new(&positions, rows, &frequencies, device);
        let reference = |q, k, device: &Device| {
            side_by_side([q, k].map(|x| uner_kernels::rope::reference(x, &table(device))))
        };
        let dy = random([rows * tokens, (heads + keys) * head_dim]);
        let shape = |heads| [rows, tokens, heads, head_dim];
        let what = format!("rope {rows} {tokens} {heads} {keys} {head_dim}");
        assert_same(
            &what,
            &[random(shape(heads)), random(shape(keys))],
            &dy,
            |inputs, device| {
                side_by_side(rope(inputs[0].clone(), inputs[1].clone(), &table(device)).into())
            },
            |inputs, device| reference(inputs[0].clone(), inputs[1].clone(), device),
        );
        let view = |stored: &Tensor<4>, heads| stored.clone().swap_dims(1, 2).narrow(2, 1, heads);
        let stored = |heads| random([rows, heads + 1, tokens, head_dim]);
        assert_same(
            &format!("{what} of views"),
            &[stored(heads), stored(keys)],
            &dy,
            |inputs, device| {
                let (q, k) = (view(&inputs[0], heads), view(&inputs[1], keys));
                side_by_side(rope(q, k, &table(device)).into())
            },
            |inputs, device| reference(view(&inputs[0], heads), view(&inputs[1], keys), device),
        );
    }
}

#[test]
fn frozen_queries_or_keys_change_no_other_gradient() {
    let (shape, positions): (_, Vec<i32>) = ([2, 7, 3, 10], (0..14).collect());
    for setup in setups(&TYPES) {
        let table = RotaryTable::new(&positions, 2, &[1.0, 0.7, 0.5, 0.2, 0.1], &setup.device);
        let inputs = [random(shape), random(shape)].map(|input| setup.put(input));
        let dy = setup.put(random([14, 60]));
        let gradients = |tracked: [bool; 2]| {
            let outcome = differentiate(&inputs, &tracked, &dy, |inputs| {
                side_by_side(rope(inputs[0].clone(), inputs[1].clone(), &table).into())
            });
            outcome
                .gradients
                .into_iter()
                .map(|gradient| gradient.map(Tensor::into_data))
                .collect::<Vec<_>>()
        };
        let all = gradients([true; 2]);
        assert!(all.iter().all(Option::is_some), "{setup}");
        assert_eq!(gradients([true, false]), [all[0].clone(), None], "{setup}");
        assert_eq!(gradients([false, true]), [None, all[1].clone()], "{setup}");
    }
}

/// Gradients may be bf16 on the CPU, too.
#[test]
fn squared_norms_on_every_device() {
    let gradients = [1, 7, 63, 515, 288 * 33, 70_000, 3_000_001].map(|count| random([count]));
    let (all, cpu) = (setups(&TYPES), cpu());
    for (setup, dtype) in all.iter().map(|setup| (setup, setup.dtype)).chain([(&cpu, DType::BF16)])
    {
        let what = format!("squared_norms {dtype:?} on {setup}");
        let ours: Vec<_> =
            gradients.iter().map(|gradient| put(gradient, &setup.device, dtype)).collect();
        let [got, again] = [0; 2].map(|_| squared_norms(ours.clone()));
        assert_eq!((got.dtype(), got.dims()), (DType::F32, [ours.len()]), "{what}");
        assert_eq!(got.to_data(), again.into_data(), "{what}: a second run differs");
        for (ours, got) in ours.into_iter().zip(values(&got)) {
            let what = format!("{what}, {} elements", ours.dims()[0]);
            let expected: f64 = values(&ours).iter().map(|value| f64::from(*value).powi(2)).sum();
            let reference =
                values(&uner_kernels::squared_norm::reference(vec![fetch(ours.clone())]));
            assert!(
                (got / reference[0] - 1.0).abs() < 1e-4,
                "{what}: {got}, the reference {reference:?}"
            );
            // At most a few thousand f32 are added one after the other, each with an error of half
            // a unit in the last place.
            let error = (f64::from(got) / expected - 1.0).abs();
            assert!(error < 1e-5, "{what}: off by {error:e}");
            assert_eq!(
                values(&squared_norms(vec![ours])),
                [got],
                "{what}: others make a difference"
            );
        }
    }
    for setup in devices() {
        let nothing = || Tensor::empty([0], &setup.device);
        assert_eq!(values(&squared_norms(vec![nothing()])), [0.0], "{setup}");
        let one = Tensor::ones([3], &setup.device);
        assert_eq!(
            values(&squared_norms(vec![nothing(), one, nothing()])),
            [0.0, 3.0, 0.0],
            "{setup}"
        );
    }
}

#[test]
fn accumulate_on_every_device() {
    let (all, cpu) = (setups(&TYPES), cpu());
    for count in [1, 7, 515, 70_000] {
        for (setup, dtype) in
            all.iter().map(|setup| (setup, setup.dtype)).chain([(&cpu, DType::BF16)])
        {
            let what = format!("accumulate {count} {dtype:?} on {setup}");
            let terms = put(&random([count]), &setup.device, dtype);
            let sum = put(&random([count]), &setup.device, DType::F32);
            let before = values(&sum);
            let expected =
                uner_kernels::accumulate::reference(fetch(sum.clone()), fetch(terms.clone()));
            let got = accumulate(sum.clone(), terms.clone());
            assert_eq!(values(&got), values(&expected), "{what}");
            assert_eq!(values(&sum), before, "{what}: what is held was changed");
            let again = accumulate(sum, terms);
            assert_eq!(values(&again), values(&expected), "{what}: in place");
        }
    }
}

#[test]
fn add_rows_on_every_device() {
    let (all, cpu) = (setups(&TYPES), cpu());
    for [vocab, hidden, tokens] in [[1, 1, 1], [5, 33, 70], [70, 288, 33], [3, 2052, 7], [4, 8, 0]]
    {
        // The last row has no gradient.
        let ids: Vec<i32> =
            (0..tokens).map(|token| (token * token % (vocab - vocab / 2)) as i32).collect();
        for (setup, dtype) in
            all.iter().map(|setup| (setup, setup.dtype)).chain([(&cpu, DType::BF16)])
        {
            let what = format!("add_rows {vocab} {hidden} {tokens} {dtype:?} on {setup}");
            let on = |tensor: Tensor<2>, dtype| {
                Tensor::<2>::from_data(tensor.into_data(), (&setup.device, dtype))
            };
            let rows = on(random([tokens, hidden]), dtype);
            let sum = on(random([vocab, hidden]), DType::F32);
            let before = values(&sum);
            let expected =
                uner_kernels::add_rows::reference(fetch(sum.clone()), &ids, fetch(rows.clone()));
            let got = add_rows(sum.clone(), &ids, rows.clone());
            assert_close(&what, &got, &expected, 1e-6);
            assert_eq!(values(&sum), before, "{what}: what is held was changed");
            let again = add_rows(sum, &ids, rows);
            assert_eq!(values(&again), values(&got), "{what}: in place, and a second run, differ");
        }
    }
}
