//! AdamW with 8-bit moments and with stochastically rounded parameters.
//!
//! Codes and rounded parameters are compared one by one. On the CPU they equal the reference's. A
//! GPU may fuse a product and a sum, which changes the last of 24 bits before a number is rounded
//! stochastically to 4 or 8: one in a hundred thousand may become the other neighbour. The tests
//! allow one in a thousand, and no other number than that neighbour.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use uner_kernels::adamw::{Moments, code};
use uner_kernels::device::DeviceName;
use uner_kernels::{AdamWState, AdamWStep, adamw};

use super::adamw::{Form, STEP, value};
use super::{TYPES, put, random, values};
use crate::devices::{cpu, devices, fetch, setups};

/// Counts around the end of a granule, and counts that are not multiples of a vector's width.
const COUNTS: [usize; 7] = [1, 255, 256, 257, 515, 4096 + 17, 70_000];

fn words(state: &AdamWState) -> Vec<i32> {
    match &state.moments {
        Moments::EightBit { words } => words.clone().try_into_vec_as().unwrap(),
        Moments::Float { .. } => panic!("moments became f32"),
    }
}

fn short(words: &[i32], device: &Device) -> Moments {
    let words = TensorData::new(words.to_vec(), [words.len()]);
    Moments::EightBit { words: Tensor::<1, Int>::from_data(words, (device, DType::I32)) }
}

/// Gradients of very different sizes, some of them zero.
fn gradients(count: usize) -> Tensor<1> {
    let scales = (0..count).map(|index| match index % 16 {
        0 => 0.0,
        place => 10f32.powi((place as i32 * 7 + index as i32 / 100) % 13 - 9),
    });
    let scales = TensorData::new(scales.collect::<Vec<_>>(), [count]);
    random([count]).mul(Tensor::from_data(scales, (&Device::flex(), DType::F32)))
}

/// Counts the numbers that differ. They must be neighbours: at most an eighth apart.
fn others(what: &str, got: &[f32], expected: &[f32]) -> usize {
    assert_eq!(got.len(), expected.len(), "{what}");
    let differ = got.iter().zip(expected).filter(|(got, expected)| {
        let near = (*got - *expected).abs() <= 0.126 * got.abs().max(expected.abs());
        assert!(near, "{what}: {got} is not next to {expected}");
        got != expected
    });
    differ.count()
}

/// Compares a few updates with the reference's, each from the device's state after the one before.
fn assert_updates((device, may_contract): (&Device, bool), form: Form, grad: DType, count: usize) {
    let what = &format!("adamw {count} {form:?}, gradient {grad:?}, on {device:?}");
    let flex = Device::flex();
    let (mut param, mut rest) = form.store(&random([count]), device);
    let mut held = vec![0; code::num_words(count)];
    for step in 1..=3 {
        let step = AdamWStep { step, ..STEP };
        let gradient = put(&gradients(count), device, grad);
        let state = |device: &Device| {
            let rest = rest.as_ref().map(|rest: &Tensor<1, Int>| {
                Tensor::from_data(rest.to_data(), (device, DType::I32))
            });
            AdamWState { rest, moments: short(&held, device) }
        };
        let before = put(&param, &flex, form.param);
        let (expected, theirs) =
            uner_kernels::adamw::reference(before, fetch(gradient.clone()), state(&flex), &step);
        let run = || adamw(put(&param, device, form.param), gradient.clone(), state(device), &step);
        let ((got, ours), again) = (run(), run());
        assert_eq!(got.to_data(), again.0.into_data(), "{what}: a second run differs");
        assert_eq!(words(&ours), words(&again.1), "{what}: a second run differs");
        let (ours_words, theirs_words) = (words(&ours), words(&theirs));
        if may_contract {
            let [m, v] = code::moments(&ours_words, count).into();
            let [expected_m, expected_v] = code::moments(&theirs_words, count).into();
            let differ = others(what, &m, &expected_m) + others(what, &v, &expected_v);
            assert!(differ * 1000 <= 2 * count, "{what}: {differ} moments of {count} differ");
            if form.param == DType::BF16 && !form.has_rest {
                let differ = others(what, &values(&got), &values(&expected));
                assert!(differ * 1000 <= count, "{what}: {differ} of {count} differ");
            }
        } else {
            assert!(ours_words == theirs_words, "{what}: words");
        }
        let floats = |values: Vec<f32>| Tensor::<1>::from_data(values.as_slice(), &flex);
        let (ours_value, theirs_value) = (value(&got, &ours), value(&expected, &theirs));
        let is_exact = form.has_rest || form.param == DType::F32;
        let tolerance = if is_exact { 2e-5 } else { 2e-2 };
        super::assert_close(what, &floats(ours_value), &floats(theirs_value), tolerance);
        (param, rest, held) = (got, ours.rest, ours_words);
    }
}

#[test]
fn eight_bit_moments_on_every_device() {
    for count in COUNTS {
        for setup in setups(&TYPES) {
            let on = (&setup.device, setup.name != DeviceName::Flex);
            for form in forms(setup.dtype) {
                assert_updates(on, form, setup.dtype, count);
                assert_updates(on, form, DType::F32, count);
            }
        }
        for form in forms(DType::BF16) {
            assert_updates((&cpu().device, false), form, DType::BF16, count);
            assert_updates((&cpu().device, false), form, DType::F32, count);
        }
    }
}

/// Returns the forms of a device that computes in this type, also those without a rest.
fn forms(dtype: DType) -> Vec<Form> {
    let at_random = Form { param: DType::BF16, has_rest: false };
    Form::all(dtype).into_iter().chain((dtype == DType::BF16).then_some(at_random)).collect()
}

/// Stochastic rounding with f32 moments.
#[test]
fn rounding_at_random_on_every_device() {
    let bf16 = setups(&TYPES).into_iter().filter(|setup| setup.dtype == DType::BF16);
    for device in bf16.map(|setup| setup.device).chain([cpu().device]) {
        for (count, grad) in [(1, DType::BF16), (515, DType::F32), (70_000, DType::BF16)] {
            let (param, grad) = (
                put(&random([count]), &device, DType::BF16),
                put(&gradients(count), &device, grad),
            );
            let state = |device: &Device| {
                let zeros = || Tensor::zeros([count], (device, DType::F32));
                let moments = Moments::Float { exp_avg: zeros(), exp_avg_sq: zeros() };
                AdamWState { rest: None, moments }
            };
            let (got, _) = adamw(param.clone(), grad.clone(), state(&device), &STEP);
            let theirs = put(&param, &Device::flex(), DType::BF16);
            let (expected, _) =
                uner_kernels::adamw::reference(theirs, fetch(grad), state(&Device::flex()), &STEP);
            assert_eq!((got.dtype(), expected.dtype()), (DType::BF16, DType::BF16));
            let differ = others("rounded at random", &values(&got), &values(&expected));
            assert!(differ * 1000 <= count, "{differ} of {count} differ on {device:?}");
        }
    }
}

/// Parts as ranks have them: whole granules, with their index in the parameter.
#[test]
fn parts_are_updated_as_the_whole_is() {
    let count = 5 * 256 + 17;
    let all = devices().into_iter().map(|setup| (setup.device, DType::F32));
    for (device, dtype) in all.chain([(cpu().device, DType::BF16)]) {
        let (param, grad) =
            (put(&random([count]), &device, dtype), put(&gradients(count), &device, DType::F32));
        let untouched = values(&param);
        let run = |start: usize, end: usize, before: &[i32], param: &Tensor<1>| {
            let part = |tensor: &Tensor<1>| tensor.clone().narrow(0, start, end - start);
            let state = AdamWState { rest: None, moments: short(before, &device) };
            let (param, state) =
                adamw(part(param), part(&grad), state, &AdamWStep { first: start, ..STEP });
            (values(&param), words(&state))
        };
        let before = vec![0; code::num_words(count)];
        let (expected, expected_words) = run(0, count, &before, &param);
        let mut whole = (Vec::new(), Vec::new());
        for (start, end) in [(0, 512), (512, 768), (768, count)] {
            let (values, words) = run(start, end, &before[..code::num_words(end - start)], &param);
            whole.0.extend(values);
            whole.1.extend(words);
        }
        assert!(whole == (expected, expected_words), "{dtype:?} on {device:?}");
        assert_eq!(values(&param), untouched, "the whole was changed");
    }
}

/// Tensors that are in use elsewhere stay unchanged; others are updated in place to the same bits.
#[test]
fn what_is_held_is_not_changed() {
    for setup in devices() {
        let (count, device) = (515, &setup.device);
        let (param, grad) =
            (put(&random([count]), device, DType::F32), put(&gradients(count), device, DType::F32));
        let state =
            AdamWState { rest: None, moments: short(&vec![0; code::num_words(count)], device) };
        let (before, before_words) = (values(&param), words(&state));
        let (got, after) = adamw(param.clone(), grad.clone(), state.clone(), &STEP);
        let (got, after) = (values(&got), words(&after));
        assert!(values(&param) == before && words(&state) == before_words, "{setup}: changed");
        let (alone, alone_state) = adamw(param, grad, state, &STEP);
        assert!(
            values(&alone) == got && words(&alone_state) == after,
            "{setup}: in place and not differ"
        );
    }
}

fn constant(value: f32, count: usize) -> Tensor<1> {
    Tensor::full([count], value, (&Device::flex(), DType::F32))
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64
}

/// Each update moves a parameter by 1e-4, a fortieth of a bf16 step below 1, so rounding to nearest
/// would never change it. After 200 updates the expected value is 0.98, and the standard deviation
/// of the mean over all parameters is 1.4e-4.
#[test]
fn small_updates_add_up_when_they_are_rounded_at_random() {
    let count = 4096;
    let mut param = constant(1.0, count).cast(DType::BF16);
    let moments =
        Moments::Float { exp_avg: constant(0.0, count), exp_avg_sq: constant(0.0, count) };
    let mut state = AdamWState { rest: None, moments };
    for step in 1..=200 {
        let step = AdamWStep { lr: 1e-4, weight_decay: 0.0, step, ..STEP };
        (param, state) = adamw(param, constant(1.0, count), state, &step);
    }
    let got = mean(&values(&param));
    assert!((got - 0.98).abs() < 6.0 * 1.4e-4, "{got}");
}

/// Without a gradient, first moments decay by a hundredth and second ones by a thousandth per step,
/// which is less than a tenth of a code's step. The expected value is that of exact numbers. After
/// a thousand steps a single second moment is off by about a quarter, the mean of all by 0.4 %.
#[test]
fn moments_decay_as_exact_ones_do() {
    let count = 4096;
    let step = AdamWStep { lr: 1e-4, beta1: 0.99, weight_decay: 0.0, grad_scale: 1.0, ..STEP };
    let mut state = AdamWState {
        rest: None,
        moments: short(&vec![0; code::num_words(count)], &Device::flex()),
    };
    let mut param = constant(1.0, count);
    let gradient = |index: usize| if index == 0 { 1.0 } else { 0.0 };
    let mut start = (0.0, 0.0);
    for index in 0..=1000 {
        let step = AdamWStep { step: index as u64 + 1, ..step };
        (param, state) = adamw(param, constant(gradient(index), count), state, &step);
        let (m, v) = code::moments(&words(&state), count);
        if index == 0 {
            start = (mean(&m), mean(&v));
        }
        if index == 100 {
            let got = mean(&m) / start.0;
            assert!((got / 0.99f64.powi(100) - 1.0).abs() < 0.02, "first moments fell to {got}");
        }
    }
    let (_, v) = code::moments(&words(&state), count);
    let got = mean(&v) / start.1;
    assert!((got / 0.999f64.powi(1000) - 1.0).abs() < 0.025, "second moments fell to {got}");
}

#[test]
fn no_second_moment_is_lost_and_nothing_comes_of_nothing() {
    let count = 256;
    let gradients: Vec<f32> = (0..count).map(|index| 10f32.powi(index % 36 - 17)).collect();
    let gradient =
        Tensor::from_data(TensorData::new(gradients, [256]), (&Device::flex(), DType::F32));
    let zeros = || short(&vec![0; code::num_words(256)], &Device::flex());
    let step = AdamWStep { weight_decay: 0.0, grad_scale: 1.0, ..STEP };
    let state = AdamWState { rest: None, moments: zeros() };
    let (param, state) = adamw(constant(0.0, 256), gradient, state, &step);
    let (_, second) = code::moments(&words(&state), 256);
    assert!(second.iter().all(|second| *second > 0.0), "{second:?}");
    // The next step, without a gradient, divides by the roots of these.
    let (after, _) = adamw(param.clone(), constant(0.0, 256), state, &step);
    let moved = after.sub(param).abs().max().into_scalar::<f32>();
    assert!(moved < 0.1, "a parameter moved by {moved}");

    let state = AdamWState { rest: None, moments: zeros() };
    let (param, state) = adamw(constant(3.0, 256), constant(0.0, 256), state, &step);
    assert_eq!(values(&param), [3.0; 256]);
    assert_eq!(code::moments(&words(&state), 256), (vec![0.0; 256], vec![0.0; 256]));
}
