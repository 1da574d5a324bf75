//! Runs the kernels' CUDA C++ on the emulator, with bf16 parameters, which software adapters of
//! WebGPU lack. The results equal the reference, and the kernels touch no memory but their own.
//!
//! The host's compiler does not contract products and sums, so codes and rounded parameters equal
//! the reference exactly.

use burn::backend::Cube;
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};

use super::super::code::num_words;
use super::super::{AdamWOps, AdamWState, AdamWStep, Moments, reference, rest};
use crate::offline::emulator::Emulator;
use crate::offline::recorder::Card;

const STEP: AdamWStep = AdamWStep {
    lr: 1e-2,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.1,
    step: 3,
    grad_scale: 0.5,
    key: 0xFFFF_0001,
    first: 512,
};

fn random(count: usize, dtype: DType) -> TensorData {
    Tensor::<1>::random([count], Distribution::Normal(0.0, 1.0), &Device::flex())
        .into_data()
        .convert_dtype(dtype)
}

fn here(data: &TensorData) -> Tensor<1> {
    Tensor::from_data(data.clone(), (&Device::flex(), data.dtype()))
}

fn ints(data: &TensorData) -> Tensor<1, Int> {
    Tensor::from_data(data.clone(), (&Device::flex(), DType::I32))
}

/// Words as left by an earlier update.
fn words(count: usize) -> TensorData {
    let zeros = TensorData::new(vec![0i32; num_words(count)], [num_words(count)]);
    let (param, grad) = (random(count, DType::F32), random(count, DType::F32));
    words_of(reference(here(&param), here(&grad), short(&zeros), &STEP).1)
}

fn short(words: &TensorData) -> AdamWState {
    AdamWState { rest: None, moments: Moments::EightBit { words: ints(words) } }
}

fn words_of(state: AdamWState) -> TensorData {
    match state.moments {
        Moments::EightBit { words } => words.into_data(),
        Moments::Float { .. } => panic!("moments became f32"),
    }
}

/// Counts around the end of a granule, some divisible by the vector width.
const COUNTS: [usize; 4] = [1, 255, 256, 3 * 256 + 20];

#[test]
fn eight_bit_moments_equal_the_reference() {
    let Some(mut emulator) = Emulator::open(Card::Hopper) else { return };
    let types = [DType::F32, DType::BF16];
    let forms = types.into_iter().flat_map(|param| types.map(|grad| (param, grad)));
    for (order, (param, grad)) in forms.enumerate() {
        for count in COUNTS {
            emulator.order = order as u32;
            let what = format!("{count} {param:?} {grad:?}");
            let (param, grad, words) = (random(count, param), random(count, grad), words(count));
            let (expected, after) = reference(here(&param), here(&grad), short(&words), &STEP);
            let (ours, gradient, device_words) =
                (emulator.put(&param), emulator.put(&grad), emulator.put(&words));
            let result = emulator.run(|| Cube::adamw_8bit(ours, gradient, device_words, STEP));
            let (got, got_words) = result.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(emulator.fetch(&got_words), words_of(after), "{what}: words");
            if param.dtype() == DType::BF16 {
                assert_eq!(emulator.fetch(&got), expected.into_data(), "{what}");
            }
        }
    }
}

/// A parameter in bf16 and its rest.
fn parted(value: &TensorData) -> (TensorData, TensorData) {
    let (param, words) = rest::parted(value.as_slice().expect("f32"));
    let (count, length) = (param.len(), words.len());
    (TensorData::new(param, [count]).convert_dtype(DType::BF16), TensorData::new(words, [length]))
}

/// The values of a parameter in bf16 with its rest.
fn joined(param: &TensorData, rest: &TensorData) -> Vec<f32> {
    let param = param.clone().convert_dtype(DType::F32);
    rest::joined(param.as_slice().expect("f32"), rest.as_slice().expect("words"))
}

/// Quotients and roots differ from the reference in the last bit, and so do the values.
fn assert_values(
    count: usize,
    got: &(TensorData, TensorData),
    expected: &(TensorData, TensorData),
) {
    let [values, expected] = [got, expected].map(|(param, rest)| joined(param, rest));
    let off = values.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-6, "{count}: off by {off}");
    assert_eq!(parted(&TensorData::new(values, [count])), *got, "{count}: not the values'");
}

fn rest_of(state: AdamWState) -> TensorData {
    state.rest.expect("it has a rest").into_data()
}

#[test]
fn values_are_parted_as_on_the_host() {
    let Some(mut emulator) = Emulator::open(Card::Hopper) else { return };
    for count in COUNTS {
        let value = random(count, DType::F32);
        let device_value = emulator.put(&value);
        let (param, rest) = emulator
            .run(|| Cube::parted(device_value, DType::BF16))
            .unwrap_or_else(|error| panic!("{count}: {error}"));
        assert_eq!((emulator.fetch(&param), emulator.fetch(&rest)), parted(&value), "{count}");
    }
}

#[test]
fn eight_bit_moments_beside_a_rest_equal_the_reference() {
    let Some(mut emulator) = Emulator::open(Card::Hopper) else { return };
    for (count, grad) in
        COUNTS.into_iter().flat_map(|count| [(count, DType::F32), (count, DType::BF16)])
    {
        let ((param, rest), grad, words) =
            (parted(&random(count, DType::F32)), random(count, grad), words(count));
        let state = AdamWState { rest: Some(ints(&rest)), ..short(&words) };
        let (expected, after) = reference(here(&param), here(&grad), state, &STEP);
        let [ours, lower, gradient, device_words] =
            [&param, &rest, &grad, &words].map(|data| emulator.put(data));
        let result =
            emulator.run(|| Cube::adamw_8bit_with_rest(ours, lower, gradient, device_words, STEP));
        let (got, lower, got_words) = result.unwrap_or_else(|error| panic!("{count}: {error}"));
        let expected = (expected.into_data(), rest_of(after.clone()));
        assert_values(count, &(emulator.fetch(&got), emulator.fetch(&lower)), &expected);
        assert_eq!(emulator.fetch(&got_words), words_of(after), "{count}: words");
    }
}

#[test]
fn moments_beside_a_rest_equal_the_reference() {
    let Some(mut emulator) = Emulator::open(Card::Hopper) else { return };
    for (count, grad) in
        COUNTS.into_iter().flat_map(|count| [(count, DType::F32), (count, DType::BF16)])
    {
        let ((param, rest), grad) = (parted(&random(count, DType::F32)), random(count, grad));
        let (first, second) =
            (random(count, DType::F32), here(&random(count, DType::F32)).square().into_data());
        let moments = Moments::Float { exp_avg: here(&first), exp_avg_sq: here(&second) };
        let state = AdamWState { rest: Some(ints(&rest)), moments };
        let (expected, after) = reference(here(&param), here(&grad), state, &STEP);
        let [ours, lower, gradient, m, v] =
            [&param, &rest, &grad, &first, &second].map(|data| emulator.put(data));
        let (got, lower, ..) = emulator
            .run(|| Cube::adamw_with_rest(ours, lower, gradient, m, v, STEP))
            .unwrap_or_else(|error| panic!("{count}: {error}"));
        let expected = (expected.into_data(), rest_of(after));
        assert_values(count, &(emulator.fetch(&got), emulator.fetch(&lower)), &expected);
    }
}

#[test]
fn rounding_at_random_equals_the_reference() {
    let Some(mut emulator) = Emulator::open(Card::Hopper) else { return };
    for count in COUNTS {
        let (param, grad) = (random(count, DType::BF16), random(count, DType::F32));
        let (first, second) =
            (random(count, DType::F32), here(&random(count, DType::F32)).square().into_data());
        let moments = Moments::Float { exp_avg: here(&first), exp_avg_sq: here(&second) };
        let (expected, _) =
            reference(here(&param), here(&grad), AdamWState { rest: None, moments }, &STEP);
        let [ours, gradient, m, v] =
            [&param, &grad, &first, &second].map(|data| emulator.put(data));
        let (got, ..) = emulator
            .run(|| Cube::adamw(ours, gradient, m, v, STEP))
            .unwrap_or_else(|error| panic!("{count}: {error}"));
        assert_eq!(emulator.fetch(&got), expected.into_data(), "{count}");
        // A few elements may all happen to stay.
        assert!(count < 100 || emulator.fetch(&got) != param, "{count}: nothing changed");
    }
}
