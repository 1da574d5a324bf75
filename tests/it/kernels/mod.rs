//! Every op, on every device and in every float type that it supports, equals its `reference` on
//! the CPU in f32: output and every gradient, over odd shapes. Both get the same values, rounded to
//! the type. A second run is bitwise equal.
//!
//! Tolerances are those of [`crate::devices`], relative to the largest entry or to 0.1 if that is
//! larger: both sides add the same few hundred products of order 1 in another order, and where
//! these cancel, only their rounding is left.

mod adamw;
mod adamw_short;
mod attention;
mod bf16_weights;
mod cached;
mod dropout;
mod elementwise;
mod input;
mod loss;
mod packed;
mod quantized;
mod sparse;
mod threads;

use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{DType, Device, Distribution, Tensor};

use crate::devices::{fetch, setups};

/// The types that kernels are tested in.
const TYPES: [DType; 2] = [DType::F32, DType::BF16];

/// Random numbers on the CPU, in f32. A test in its own process gets the same ones every time.
fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    Device::flex().seed(DRAWN.fetch_add(1, Ordering::Relaxed));
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    fetch(tensor.clone()).try_into_vec_as().expect("a float tensor")
}

/// Copies a tensor to a device as another type, into its own buffer.
fn put(tensor: &Tensor<1>, device: &Device, dtype: DType) -> Tensor<1> {
    Tensor::from_data(tensor.to_data(), (device, dtype))
}

/// Returns the message of a panic.
fn refusal(work: impl FnOnce()) -> String {
    let payload =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).expect_err("refused");
    payload.downcast_ref::<String>().expect("a formatted message").clone()
}

fn assert_close<const D: usize>(what: &str, got: &Tensor<D>, expected: &Tensor<D>, tolerance: f32) {
    assert_eq!(got.dims(), expected.dims(), "{what}: shape");
    let (got, expected) = (values(got), values(expected));
    assert!(got.iter().all(|value| value.is_finite()), "{what}: not finite");
    let largest = expected.iter().fold(0.1f32, |largest, value| largest.max(value.abs()));
    let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance * largest, "{what}: off by {worst:e}, the largest is {largest:e}");
}

/// A result, and the gradients of the tracked inputs.
struct Outcome<const D: usize, const Y: usize> {
    y: Tensor<Y>,
    gradients: Vec<Option<Tensor<D>>>,
}

/// Runs `op` forward and, for the gradient `dy` of the result, backward. The product with `dy` is
/// not summed: backward starts with ones anyway, and a GPU would spend its time tuning the sum.
fn differentiate<const D: usize, const Y: usize>(
    inputs: &[Tensor<D>],
    tracked: &[bool],
    dy: &Tensor<Y>,
    op: impl Fn(&[Tensor<D>]) -> Tensor<Y>,
) -> Outcome<D, Y> {
    let leaf = |(input, tracked): (&Tensor<D>, &bool)| {
        let input = input.clone().autodiff();
        if *tracked { input.require_grad() } else { input }
    };
    let inputs: Vec<_> = inputs.iter().zip(tracked).map(leaf).collect();
    let y = op(&inputs);
    let mut graph = y.clone().mul(dy.clone()).backward();
    Outcome {
        y: y.inner(),
        gradients: inputs.iter().map(|input| input.grad_remove(&mut graph)).collect(),
    }
}

/// [`assert_within`] for sums of a few hundred products.
fn assert_same<const D: usize, const Y: usize>(
    what: &str,
    inputs: &[Tensor<D>],
    dy: &Tensor<Y>,
    kernel: impl Fn(&[Tensor<D>], &Device) -> Tensor<Y>,
    reference: impl Fn(&[Tensor<D>], &Device) -> Tensor<Y>,
) {
    assert_within(1.0, what, inputs, dy, kernel, reference);
}

/// Compares a kernel with its reference on every device and in every type; both get the device they
/// run on. A gradient that the reference lacks must be zero. Differences may be `factor` times the
/// tolerance: rounding grows with the square root of the number of products in a sum.
fn assert_within<const D: usize, const Y: usize>(
    factor: f32,
    what: &str,
    inputs: &[Tensor<D>],
    dy: &Tensor<Y>,
    kernel: impl Fn(&[Tensor<D>], &Device) -> Tensor<Y>,
    reference: impl Fn(&[Tensor<D>], &Device) -> Tensor<Y>,
) {
    let (cpu, all) = (Device::flex(), vec![true; inputs.len()]);
    for setup in setups(&TYPES) {
        let what = format!("{what} on {setup}");
        let ours: Vec<_> = inputs.iter().map(|input| setup.put(input.clone())).collect();
        let theirs: Vec<_> = ours.iter().map(|input| fetch(input.clone())).collect();
        let run = |inputs: &[Tensor<D>]| kernel(inputs, &setup.device);
        let plain = run(&ours);
        // A loss is f32 for inputs of any type.
        let dtype = plain.dtype();
        let dy = Tensor::from_data(dy.to_data(), (&setup.device, dtype));
        let [got, again] = [0; 2].map(|_| differentiate(&ours, &all, &dy, run));
        let expected = differentiate(&theirs, &all, &fetch(dy), |inputs| reference(inputs, &cpu));
        let tolerance = factor * setup.tolerance.op;
        assert_close(&format!("{what}: output"), &got.y, &expected.y, tolerance);
        assert_close(
            &format!("{what}: output without autodiff"),
            &plain,
            &fetch(got.y.clone()),
            tolerance,
        );
        assert_eq!(got.y.into_data(), again.y.into_data(), "{what}: a second run differs");
        let gradients = got.gradients.into_iter().zip(again.gradients).zip(expected.gradients);
        for (index, ((got, again), expected)) in gradients.enumerate() {
            let what = format!("{what}: gradient {index}");
            let (got, again) =
                (got.expect("every input has a gradient"), again.expect("as before"));
            let expected = expected.unwrap_or_else(|| theirs[index].zeros_like());
            assert_eq!(got.dtype(), setup.dtype, "{what}: type");
            assert_close(&what, &got, &expected, tolerance);
            assert_eq!(got.into_data(), again.into_data(), "{what} of a second run differs");
        }
    }
}
