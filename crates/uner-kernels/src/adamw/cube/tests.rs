//! The CUDA C++ of the kernels on the emulator equals the reference, with the parameters in bf16 that software adapters of WebGPU do
//! not have, and touches no memory but its own.
//!
//! The host's compiler contracts no products and sums, so codes and rounded parameters are the reference's.

use burn::backend::Cube;
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};

use super::super::code::num_words;
use super::super::{AdamWOps, AdamWState, AdamWStep, Moments, reference};
use crate::offline::emulator::Emulator;

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

/// Words as an earlier update has left them.
fn words(count: usize) -> TensorData {
    let zeros = TensorData::new(vec![0i32; num_words(count)], [num_words(count)]);
    let state = AdamWState { master: None, moments: Moments::EightBit { words: ints(&zeros) } };
    let (param, grad) = (random(count, DType::F32), random(count, DType::F32));
    match reference(here(&param), here(&grad), state, &STEP).1.moments {
        Moments::EightBit { words } => words.into_data(),
        Moments::Float { .. } => panic!("moments became f32"),
    }
}

#[test]
fn eight_bit_moments_equal_the_reference() {
    let Some(mut emulator) = Emulator::open() else { return };
    let types = [DType::F32, DType::BF16];
    let forms = types.into_iter().flat_map(|param| types.map(|grad| (param, grad)));
    for (order, (param, grad)) in forms.enumerate() {
        for count in [1, 255, 256, 3 * 256 + 20] {
            emulator.order = order as u32;
            let (param, grad, words) = (random(count, param), random(count, grad), words(count));
            let state = AdamWState { master: None, moments: Moments::EightBit { words: ints(&words) } };
            let (expected, after) = reference(here(&param), here(&grad), state, &STEP);
            let (ours, gradient, held) = (emulator.put(&param), emulator.put(&grad), emulator.put(&words));
            let (got, got_words) = emulator
                .run(|| Cube::adamw_8bit(ours, gradient, held, STEP))
                .unwrap_or_else(|e| panic!("{e}"));
            let Moments::EightBit { words } = after.moments else { panic!("moments became f32") };
            let what = format!("{count} {:?} {:?}", param.dtype(), grad.dtype());
            assert_eq!(emulator.fetch(&got_words), words.into_data(), "{what}: words");
            let got = emulator.fetch(&got).convert_dtype(DType::F32);
            if param.dtype() == DType::BF16 {
                assert_eq!(got, expected.into_data().convert_dtype(DType::F32), "{what}");
            }
        }
    }
}
