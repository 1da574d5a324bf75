//! The linear layer and the loss.

use burn::tensor::{DType, Device, Tensor, TensorData};
use uner_kernels::linear_cross_entropy::{IGNORE_INDEX, reference_token_losses};
use uner_kernels::{Labels, add_linear, linear, linear_cross_entropy, linear_sum, token_losses};

use super::{TYPES, assert_close, assert_same, assert_within, differentiate, random, values};
use crate::devices::{devices, fetch, setups};

/// Compares all results of the loss.
fn assert_loss(what: &str, [hidden, weight]: [&Tensor<2>; 2], labels: &[i32]) {
    let [vocab, _] = weight.dims();
    assert_within(
        (vocab.max(labels.len()) as f32 / 500.0).sqrt().max(1.0),
        what,
        &[hidden.clone(), weight.clone()],
        &Tensor::<1>::from_data([0.75f32], &Device::flex()),
        |inputs, device| {
            linear_cross_entropy(inputs[0].clone(), inputs[1].clone(), &Labels::new(labels, device))
        },
        |inputs, device| {
            let labels = Labels::new(labels, device);
            uner_kernels::linear_cross_entropy::reference(
                inputs[0].clone(),
                inputs[1].clone(),
                &labels,
            )
        },
    );
    let cpu = Labels::new(labels, &Device::flex());
    for setup in setups(&TYPES).into_iter().filter(|_| cpu.count() > 0) {
        let (hidden, weight) = (setup.put(hidden.clone()), setup.put(weight.clone()));
        let expected = reference_token_losses(fetch(hidden.clone()), fetch(weight.clone()), &cpu);
        let got = token_losses(hidden, weight, &Labels::new(labels, &setup.device));
        assert_close(
            &format!("{what}: token losses on {setup}"),
            &got,
            &expected,
            setup.tolerance.op,
        );
    }
}

/// Returns the labels of `tokens` rows, of which every `step`-th is trained.
fn every(step: usize, tokens: usize, vocab: usize) -> Vec<i32> {
    let label =
        |row: usize| if row % step == step - 1 { (row * 31 % vocab) as i32 } else { IGNORE_INDEX };
    (0..tokens).map(label).collect()
}

#[test]
fn the_loss_equals_its_reference_over_odd_and_even_sizes() {
    for ([tokens, hidden, vocab], step) in [
        ([1, 1, 7], 1),
        ([7, 33, 33], 1),
        ([33, 64, 515], 3),
        ([63, 10, 1000], 2),
        ([65, 127, 64], 1),
        ([127, 16, 63], 64),
        ([515, 8, 33], 7),
    ] {
        assert_loss(
            &format!("{tokens} {hidden} {vocab}, every {step}"),
            [&random([tokens, hidden]), &random([vocab, hidden])],
            &every(step, tokens, vocab),
        );
    }
}

#[test]
fn vocabularies_of_a_real_model() {
    for vocab in [32_000, 32_001] {
        let inputs = [&random([5, 16]), &random([vocab, 16])];
        assert_loss(
            &format!("vocabulary {vocab}"),
            inputs,
            &[3, IGNORE_INDEX, vocab as i32 - 1, 16_000, 0],
        );
    }
}

#[test]
fn all_rows_no_row_or_one_row_trained_and_one_target_for_all() {
    let (hidden, weight) = (random([20, 12]), random([33, 12]));
    let one: Vec<i32> = (0..20).map(|row| if row == 17 { 32 } else { IGNORE_INDEX }).collect();
    for (what, labels) in
        [("none", vec![IGNORE_INDEX; 20]), ("one", one), ("the same", vec![5; 20])]
    {
        assert_loss(what, [&hidden, &weight], &labels);
    }
}

#[test]
fn several_chunks_give_what_one_gives() {
    // A chunk has at most 32,768 rows. Gradients of the weight sum over all rows, so they are
    // larger and their tolerance grows in proportion.
    let tokens = 40_000;
    assert_loss("two chunks", [&random([tokens, 8]), &random([7, 8])], &every(1, tokens, 7));
}

#[test]
fn logits_of_ten_thousand_do_not_overflow() {
    let sign = |index: usize| if index.is_multiple_of(2) { 1.0f32 } else { -1.0 };
    let (tokens, vocab) = (9, 33);
    let hidden: Vec<f32> = (0..tokens * 2).map(|index| 50.0 * sign(index / 2)).collect();
    let weight: Vec<f32> =
        (0..vocab * 2).map(|index| 100.0 * sign(index / 2) + (index % 5) as f32).collect();
    let inputs = [
        &Tensor::<2>::from_data(TensorData::new(hidden, [tokens, 2]), &Device::flex()),
        &Tensor::<2>::from_data(TensorData::new(weight, [vocab, 2]), &Device::flex()),
    ];
    assert_loss("large logits", inputs, &every(1, tokens, vocab));
}

#[test]
fn a_loss_that_is_not_finite_stays_so() {
    for setup in setups(&TYPES) {
        let hidden =
            setup.put(Tensor::<2>::from_data([[f32::NAN, 1.0], [1.0, 1.0]], &Device::flex()));
        let labels = Labels::new(&[1, 2], &setup.device);
        let losses = values(&token_losses(hidden, setup.put(random([33, 2])), &labels));
        assert!(losses[0].is_nan() && losses[1].is_finite(), "{setup}: {losses:?}");
    }
}

#[test]
fn views_are_read_as_they_are() {
    let labels = every(2, 33, 65);
    assert_same(
        "loss of transposed views",
        &[random([12, 33]), random([12, 65])],
        &Tensor::<1>::ones([1], &Device::flex()),
        |inputs, device| {
            let [hidden, weight] = [0, 1].map(|index| inputs[index].clone().transpose());
            linear_cross_entropy(hidden, weight, &Labels::new(&labels, device))
        },
        |inputs, device| {
            let [hidden, weight] = [0, 1].map(|index| inputs[index].clone().transpose());
            uner_kernels::linear_cross_entropy::reference(
                hidden,
                weight,
                &Labels::new(&labels, device),
            )
        },
    );
}

#[test]
fn only_gradients_that_are_asked_for_are_formed() {
    for setup in setups(&TYPES) {
        let inputs = [random([33, 16]), random([65, 16])].map(|input| setup.put(input));
        let labels = Labels::new(&every(2, 33, 65), &setup.device);
        let (one, rows) = (Tensor::<1>::ones([1], &setup.device), setup.put(random([33, 65])));
        let loss = |tracked: &[bool]| {
            let op = |inputs: &[Tensor<2>]| {
                linear_cross_entropy(inputs[0].clone(), inputs[1].clone(), &labels)
            };
            differentiate(&inputs, tracked, &one, op).gradients
        };
        let layer = |tracked: &[bool]| {
            let op = |inputs: &[Tensor<2>]| linear(inputs[0].clone(), inputs[1].clone());
            differentiate(&inputs, tracked, &rows, op).gradients
        };
        for tracked in [[true, false], [false, true]] {
            for (some, all) in
                [(loss(&tracked), loss(&[true; 2])), (layer(&tracked), layer(&[true; 2]))]
            {
                for ((got, all), tracked) in some.into_iter().zip(all).zip(tracked) {
                    let expected = all.filter(|_| tracked).map(Tensor::into_data);
                    assert_eq!(got.map(Tensor::into_data), expected, "{setup}");
                }
            }
        }
    }
}

#[test]
fn the_linear_layer_equals_its_reference() {
    for [tokens, input, output] in
        [[1, 1, 1], [7, 33, 5], [1, 64, 127], [63, 65, 127], [515, 10, 64], [33, 127, 1]]
    {
        assert_same(
            &format!("linear {tokens} {input} {output}"),
            &[random([tokens, input]), random([output, input])],
            &random([tokens, output]),
            |inputs, _| linear(inputs[0].clone(), inputs[1].clone()),
            |inputs, _| uner_kernels::linear::reference(inputs[0].clone(), inputs[1].clone()),
        );
    }
}

#[test]
fn a_linear_layer_added_to_a_tensor_equals_its_reference() {
    for [tokens, input, output] in [[1, 1, 1], [7, 33, 5], [63, 65, 127], [515, 16, 64]] {
        assert_same(
            &format!("add_linear {tokens} {input} {output}"),
            &[random([tokens, output]), random([tokens, input]), random([output, input])],
            &random([tokens, output]),
            |inputs, _| add_linear(inputs[0].clone(), inputs[1].clone(), inputs[2].clone()),
            |inputs, _| {
                let [base, x, weight] = [0, 1, 2].map(|index| inputs[index].clone());
                uner_kernels::add_linear::reference(base, x, weight)
            },
        );
    }
}

/// Output and the gradient of `x` equal those of the linear layer. The sum gets two gradients, as
/// from two micro-batches.
#[test]
fn the_linear_layer_with_a_sum_equals_its_reference() {
    for [tokens, input, output] in [[1, 1, 1], [7, 33, 5], [63, 65, 127], [515, 10, 64]] {
        let (x, weight) = (random([tokens, input]), random([output, input]));
        let (dy, sum) = (random([tokens, output]), random([output, input]));
        for setup in setups(&TYPES) {
            let what = format!("linear_sum {tokens} {input} {output} on {setup}");
            let (x, weight, dy) =
                (setup.put(x.clone()), setup.put(weight.clone()), setup.put(dy.clone()));
            let held = Tensor::<2>::from_data(sum.to_data(), (&setup.device, DType::F32));
            let run = |sum: Tensor<2>| {
                let x = x.clone().autodiff().require_grad();
                let leaf = sum.autodiff().require_grad();
                let y = linear_sum(x.clone(), weight.clone().autodiff(), leaf.clone());
                let mut graph = y.clone().mul(dy.clone().autodiff()).backward();
                let [dx, sum] =
                    [x, leaf].map(|leaf| leaf.grad_remove(&mut graph).expect("a gradient"));
                (y.inner(), dx, sum)
            };
            let alone = |inputs: &[Tensor<2>]| linear(inputs[0].clone(), inputs[1].clone());
            let expected = differentiate(&[x.clone(), weight.clone()], &[true; 2], &dy, alone);
            let reference =
                |sum| uner_kernels::linear_sum::reference(sum, fetch(dy.clone()), fetch(x.clone()));
            let twice = reference(reference(fetch(held.clone())));

            let (y, dx, once) = run(held);
            assert_eq!(y.into_data(), expected.y.into_data(), "{what}: output");
            let expected_dx = expected.gradients.into_iter().flatten().next().expect("tracked");
            assert_eq!(dx.into_data(), expected_dx.into_data(), "{what}: gradient of `x`");
            let (.., got) = run(once);
            assert_eq!(got.dtype(), DType::F32, "{what}");
            assert_close(&what, &got, &twice, setup.tolerance.op);
        }
    }
}

#[test]
fn no_rows_are_no_output_and_a_gradient_of_zeros() {
    for setup in devices() {
        let inputs = [Tensor::zeros([0, 6], &setup.device), setup.put(random([5, 6]))];
        let op = |inputs: &[Tensor<2>]| linear(inputs[0].clone(), inputs[1].clone());
        let got = differentiate(&inputs, &[true; 2], &Tensor::zeros([0, 5], &setup.device), op);
        let dims: Vec<_> = got
            .gradients
            .iter()
            .map(|gradient| gradient.as_ref().expect("tracked").dims())
            .collect();
        assert_eq!((got.y.dims(), dims), ([0, 5], vec![[0, 6], [5, 6]]), "{setup}");
        assert_eq!(values(got.gradients[1].as_ref().expect("tracked")), [0.0; 30], "{setup}");
    }
}

#[test]
#[should_panic(expected = "label 33 with `weight` [33, 4]")]
fn a_label_outside_the_vocabulary_is_refused() {
    token_losses(
        random([2, 4]),
        random([33, 4]),
        &Labels::new(&[IGNORE_INDEX, 33], &Device::flex()),
    );
}

#[test]
#[should_panic(expected = "3 labels for `hidden` [2, 4]")]
fn labels_of_another_length_are_refused() {
    token_losses(random([2, 4]), random([33, 4]), &Labels::new(&[1, 2, 3], &Device::flex()));
}
