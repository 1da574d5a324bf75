//! Runs the kernels' CUDA C++ on the emulator, with more rows than cubes, so that cubes take
//! several rows, and in types that software adapters of WebGPU lack. The kernels touch no memory
//! but their own, and nothing races.

use burn::backend::{Cube, Flex, TensorMetadata};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};

use super::super::RmsNormKernels;
use crate::cube::Floats;
use crate::flex;
use crate::offline::emulator::Emulator;
use crate::offline::recorder::Card;

const EPS: f64 = 1e-5;
/// Rows that are not whole vectors, that leave units idle, and that fill them; some with more rows
/// than two cubes for each of 132 processors.
const SHAPES: [[usize; 2]; 4] = [[300, 33], [600, 72], [3, 4096], [300, 512]];

fn random(shape: [usize; 2], dtype: DType) -> TensorData {
    Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
        .into_data()
        .convert_dtype(dtype)
}

/// The same numbers in f32 on the CPU.
fn here(data: &TensorData) -> flex::Floats {
    flex::Floats::from_data(data.clone().convert_dtype(DType::F32))
}

fn assert_close(what: &str, got: TensorData, expected: &flex::Floats, tolerance: f32) {
    let expected = flex::slice(expected);
    let got: Vec<f32> = got.convert_dtype(DType::F32).try_into_vec().expect("floats");
    let largest = expected.iter().fold(0.1f32, |largest, value| largest.max(value.abs()));
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(got.len() == expected.len() && worst <= tolerance * largest, "{what}: off by {worst}");
}

#[test]
fn rows_that_take_turns_equal_those_of_the_cpu() {
    let Some(mut emulator) = Emulator::open(Card::Hopper) else { return };
    for ([rows, hidden], dtype) in
        SHAPES.into_iter().flat_map(|shape| [DType::F32, DType::BF16].map(|t| (shape, t)))
    {
        emulator.order += 1;
        let tolerance = if dtype == DType::F32 { 2e-5 } else { 2e-2 };
        let what = format!("{rows} {hidden} {dtype:?}");
        let [x, residual, dy] = std::array::from_fn(|_| random([rows, hidden], dtype));
        let weight = random([1, hidden], dtype);
        let flat = |data: &TensorData| {
            TensorData::from_bytes_vec(data.as_bytes().to_vec(), [hidden], dtype)
        };
        let mut put = |data: &TensorData| -> Floats { emulator.put(data) };
        let [ours, other, slopes, scale] = [&x, &residual, &dy, &flat(&weight)].map(&mut put);

        let forward =
            || Cube::add_rms_norm_forward(ours.clone(), other.clone(), scale.clone(), EPS);
        let (sum, y) = emulator.run(forward).unwrap_or_else(|error| panic!("{what}: {error}"));
        let (expected_sum, expected_y) =
            Flex::add_rms_norm_forward(here(&x), here(&residual), here(&flat(&weight)), EPS);
        assert_close(&format!("{what}: sum"), emulator.fetch(&sum), &expected_sum, tolerance);
        assert_close(
            &format!("{what}: norm of the sum"),
            emulator.fetch(&y),
            &expected_y,
            tolerance,
        );

        let forward = || Cube::rms_norm_forward(ours.clone(), scale.clone(), EPS);
        let y = emulator.run(forward).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = Flex::rms_norm_forward(here(&x), here(&flat(&weight)), EPS);
        assert_close(&format!("{what}: norm"), emulator.fetch(&y), &expected, tolerance);

        for has_residual_grad in [false, true] {
            let what = format!("{what}, something to add: {has_residual_grad}");
            let residual_grad = has_residual_grad.then(|| other.clone());
            let backward = || {
                Cube::rms_norm_backward(
                    ours.clone(),
                    scale.clone(),
                    EPS,
                    slopes.clone(),
                    residual_grad,
                    true,
                )
            };
            let (dx, dweight) =
                emulator.run(backward).unwrap_or_else(|error| panic!("{what}: {error}"));
            let residual_grad = has_residual_grad.then(|| here(&residual));
            let (expected, expected_dweight) = Flex::rms_norm_backward(
                here(&x),
                here(&flat(&weight)),
                EPS,
                here(&dy),
                residual_grad,
                true,
            );
            assert_eq!(dx.dtype(), dtype, "{what}");
            assert_close(&what, emulator.fetch(&dx), &expected, tolerance);
            let dweight = emulator.fetch(&dweight.expect("it is wanted"));
            assert_close(&what, dweight, &expected_dweight.expect("it is wanted"), tolerance);
        }
    }
}
