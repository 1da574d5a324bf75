//! The linear layer and the loss equal their references on every device at hand, forward and each gradient.
//!
//! The reference runs on the CPU in f32. Tolerance, of the largest entry and of at least 0.1: 2e-5 in f32, where both sides
//! add up the same few hundred products of order 1 in another order; 4e-3 in f16, whose unit is 1e-3 of the value (inputs
//! are the same f16 numbers on both sides, sums are f32, but results and the gradient of the logits are rounded).

use burn::tensor::{DType, Device, Distribution, FloatDType, Tensor, TensorData};
use uner_kernels::linear_cross_entropy::{IGNORE_INDEX, reference, reference_token_losses};
use uner_kernels::{Labels, linear, linear_cross_entropy, token_losses};

fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "webgpu")]
        Device::wgpu(burn::tensor::DeviceKind::Cpu),
    ]
}

/// The f32 and, where the device has it, the f16 form of a test.
fn dtypes(device: &Device) -> Vec<FloatDType> {
    let half = *device != Device::flex() && device.supports_dtype(FloatDType::F16);
    if half { vec![FloatDType::F32, FloatDType::F16] } else { vec![FloatDType::F32] }
}

/// Random numbers that are the same in f16 and f32.
fn random(shape: [usize; 2]) -> Tensor<2> {
    let values = Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
    values.mul_scalar(256.0).round().div_scalar(256.0)
}

fn on<const D: usize>(tensor: &Tensor<D>, device: &Device, dtype: FloatDType) -> Tensor<D> {
    Tensor::<D>::from_data(tensor.to_data(), device).cast(dtype)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(FloatDType::F32).try_into_vec_as().unwrap()
}

fn assert_equal<const D: usize>(what: &str, dtype: FloatDType, got: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(got.dims(), expected.dims(), "{what}: shape");
    let tolerance = if dtype == FloatDType::F32 { 2e-5 } else { 4e-3 };
    let (got, expected) = (values(got), values(expected));
    assert!(got.iter().all(|value| value.is_finite()), "{what}: not finite");
    let largest = expected.iter().fold(0.1f32, |largest, value| largest.max(value.abs()));
    let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance * largest, "{what}: off by {worst:e}, the largest is {largest:e}");
}

/// What an operator of two matrices gives, and its gradients where they are asked for.
struct Outcome<const D: usize> {
    y: Tensor<D>,
    gradients: [Option<Tensor<2>>; 2],
}

/// Runs `op` and its backward pass for the gradient `dy` of the result.
fn differentiate<const D: usize>(
    [a, b]: [Tensor<2>; 2],
    [a_tracked, b_tracked]: [bool; 2],
    dy: &Tensor<D>,
    op: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<D>,
) -> Outcome<D> {
    let track = |tensor: Tensor<2>, tracked: bool| {
        if tracked { tensor.autodiff().require_grad() } else { tensor.autodiff() }
    };
    let (a, b) = (track(a, a_tracked), track(b, b_tracked));
    let y = op(a.clone(), b.clone());
    let mut graph = y.clone().mul(dy.clone()).sum().backward();
    Outcome { y: y.inner(), gradients: [a.grad_remove(&mut graph), b.grad_remove(&mut graph)] }
}

/// Compares everything that the loss gives, on `device` in `dtype`, with the reference on the CPU.
fn assert_loss_on(device: &Device, dtype: FloatDType, what: &str, inputs: [&Tensor<2>; 2], labels: &[i32]) {
    let what = &format!("{what} on {device:?} in {dtype:?}");
    let plain = inputs.map(Clone::clone);
    let dy = Tensor::<1>::from_data([0.75f32], &Device::flex());
    let cpu = Labels::new(labels, &Device::flex());
    let expected = differentiate(plain.clone(), [true; 2], &dy, |h, w| reference(h, w, &cpu));
    let there = inputs.map(|tensor| on(tensor, device, dtype));
    let labels = Labels::new(labels, device);
    let dy = on(&dy, device, FloatDType::F32);
    let run =
        |tracked| differentiate(there.clone(), tracked, &dy, |h, w| linear_cross_entropy(h, w, &labels));
    let (got, again) = (run([true; 2]), run([true; 2]));
    assert_eq!(got.y.dtype(), DType::F32, "{what}: type of the loss");
    assert_eq!(got.y.to_data(), again.y.into_data(), "{what}: a second run differs");
    for (name, ((got, again), expected)) in
        ["hidden", "weight"].iter().zip(got.gradients.iter().zip(again.gradients).zip(expected.gradients))
    {
        let (got, again) = (got.clone().expect("tracked"), again.expect("tracked"));
        assert_eq!(got.to_data(), again.into_data(), "{what}: a second gradient of {name} differs");
        let expected = expected.unwrap_or_else(|| got.zeros_like());
        assert_equal(&format!("{what}: gradient of {name}"), dtype, got, expected);
    }
    let [h, w] = there.clone();
    let untracked = linear_cross_entropy(h.clone(), w.clone(), &labels);
    assert_equal(&format!("{what}: loss without autodiff"), FloatDType::F32, untracked, got.y.clone());
    assert_equal(&format!("{what}: loss"), dtype, got.y, expected.y);
    if labels.count() > 0 {
        let [plain_h, plain_w] = plain;
        let expected = reference_token_losses(plain_h, plain_w, &cpu);
        assert_equal(&format!("{what}: token losses"), dtype, token_losses(h, w, &labels), expected);
    }
}

fn assert_loss(what: &str, inputs: [&Tensor<2>; 2], labels: &[i32]) {
    for device in devices() {
        for dtype in dtypes(&device) {
            assert_loss_on(&device, dtype, what, inputs, labels);
        }
    }
}

/// Labels of `tokens` rows, every so many trained.
fn every(step: usize, tokens: usize, vocab: usize) -> Vec<i32> {
    let label = |row: usize| if row % step == step - 1 { (row * 31 % vocab) as i32 } else { IGNORE_INDEX };
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
        assert_loss(&format!("vocabulary {vocab}"), inputs, &[3, IGNORE_INDEX, vocab as i32 - 1, 16_000, 0]);
    }
}

#[test]
fn all_rows_no_row_or_one_row_trained_and_one_target_for_all() {
    let (hidden, weight) = (random([20, 12]), random([33, 12]));
    let one: Vec<i32> = (0..20).map(|row| if row == 17 { 32 } else { IGNORE_INDEX }).collect();
    for (what, labels) in [("none", vec![IGNORE_INDEX; 20]), ("one", one), ("the same", vec![5; 20])] {
        assert_loss(what, [&hidden, &weight], &labels);
    }
}

#[test]
fn several_chunks_give_what_one_gives() {
    // 32,768 rows are the most that a chunk has. Gradients of the weight sum over all rows, so they are larger and so is the
    // room for rounding, in proportion.
    let tokens = 40_000;
    assert_loss("two chunks", [&random([tokens, 8]), &random([7, 8])], &every(1, tokens, 7));
}

#[test]
fn logits_of_ten_thousand_do_not_overflow() {
    let sign = |index: usize| if index.is_multiple_of(2) { 1.0f32 } else { -1.0 };
    let (tokens, vocab) = (9, 33);
    let hidden: Vec<f32> = (0..tokens * 2).map(|index| 50.0 * sign(index / 2)).collect();
    let weight: Vec<f32> = (0..vocab * 2).map(|index| 100.0 * sign(index / 2) + (index % 5) as f32).collect();
    let inputs = [
        &Tensor::<2>::from_data(TensorData::new(hidden, [tokens, 2]), &Device::flex()),
        &Tensor::<2>::from_data(TensorData::new(weight, [vocab, 2]), &Device::flex()),
    ];
    assert_loss("large logits", inputs, &every(1, tokens, vocab));
}

#[test]
fn a_loss_that_is_not_finite_stays_so() {
    for device in devices() {
        let hidden = Tensor::<2>::from_data([[f32::NAN, 1.0], [1.0, 1.0]], &device);
        let weight = on(&random([33, 2]), &device, FloatDType::F32);
        let losses = values(token_losses(hidden, weight, &Labels::new(&[1, 2], &device)));
        assert!(losses[0].is_nan() && losses[1].is_finite(), "{device:?}: {losses:?}");
    }
}

#[test]
fn views_are_read_as_they_are() {
    let (hidden, weight, labels) = (random([12, 33]), random([12, 65]), every(2, 33, 65));
    assert_loss("transposed", [&hidden.transpose(), &weight.transpose()], &labels);
    for device in devices() {
        let view = |tensor: &Tensor<2>| on(tensor, &device, FloatDType::F32).transpose();
        let (hidden, weight) = (random([12, 33]), random([12, 65]));
        let got = token_losses(view(&hidden), view(&weight), &Labels::new(&labels, &device));
        let labels = Labels::new(&labels, &Device::flex());
        let expected = reference_token_losses(hidden.transpose(), weight.transpose(), &labels);
        assert_equal("transposed", FloatDType::F32, got, expected);
    }
}

#[test]
fn only_gradients_that_are_asked_for_are_formed() {
    let (hidden, weight) = (random([33, 16]), random([65, 16]));
    for device in devices() {
        let there = [on(&hidden, &device, FloatDType::F32), on(&weight, &device, FloatDType::F32)];
        let labels = Labels::new(&every(2, 33, 65), &device);
        let (one, rows) = (Tensor::<1>::ones([1], &device), Tensor::<2>::ones([33, 65], &device));
        for tracked in [[true, false], [false, true]] {
            let loss =
                differentiate(there.clone(), tracked, &one, |h, w| linear_cross_entropy(h, w, &labels));
            let all =
                differentiate(there.clone(), [true; 2], &one, |h, w| linear_cross_entropy(h, w, &labels));
            let y = differentiate(there.clone(), tracked, &rows, linear);
            let all_y = differentiate(there.clone(), [true; 2], &rows, linear);
            for (outcome, all) in [(loss.gradients, all.gradients), (y.gradients, all_y.gradients)] {
                for ((got, all), tracked) in outcome.into_iter().zip(all).zip(tracked) {
                    assert_eq!(got.is_some(), tracked, "{device:?}");
                    let expected = all.filter(|_| tracked).map(Tensor::into_data);
                    assert_eq!(got.map(Tensor::into_data), expected, "{device:?}");
                }
            }
        }
    }
}

#[test]
fn the_linear_layer_equals_its_reference() {
    for device in devices() {
        for dtype in dtypes(&device) {
            for [tokens, input, output] in
                [[1, 1, 1], [7, 33, 5], [1, 64, 127], [63, 65, 127], [515, 10, 64], [33, 127, 1]]
            {
                let what = &format!("linear {tokens} {input} {output} on {device:?} in {dtype:?}");
                let inputs = [random([tokens, input]), random([output, input])];
                let dy = random([tokens, output]);
                let there = inputs.clone().map(|tensor| on(&tensor, &device, dtype));
                let got = differentiate(there, [true; 2], &on(&dy, &device, dtype), linear);
                let expected = differentiate(inputs, [true; 2], &dy, uner_kernels::linear::reference);
                assert_equal(&format!("{what}: output"), dtype, got.y, expected.y);
                for (got, expected) in got.gradients.into_iter().zip(expected.gradients) {
                    assert_equal(what, dtype, got.expect("tracked"), expected.expect("tracked"));
                }
            }
        }
    }
}

#[test]
fn no_rows_are_no_output_and_a_gradient_of_zeros() {
    for device in devices() {
        let inputs = [Tensor::zeros([0, 6], &device), on(&random([5, 6]), &device, FloatDType::F32)];
        let got = differentiate(inputs, [true; 2], &Tensor::zeros([0, 5], &device), linear);
        let [dx, dweight] = got.gradients.map(|gradient| gradient.expect("tracked"));
        assert_eq!((got.y.dims(), dx.dims()), ([0, 5], [0, 6]), "{device:?}");
        assert_eq!(values(dweight), [0.0; 30], "{device:?}");
    }
}

#[test]
#[should_panic(expected = "label 33 with `weight` [33, 4]")]
fn a_label_outside_the_vocabulary_is_refused() {
    token_losses(random([2, 4]), random([33, 4]), &Labels::new(&[IGNORE_INDEX, 33], &Device::flex()));
}

#[test]
#[should_panic(expected = "3 labels for `hidden` [2, 4]")]
fn labels_of_another_length_are_refused() {
    token_losses(random([2, 4]), random([33, 4]), &Labels::new(&[1, 2, 3], &Device::flex()));
}
