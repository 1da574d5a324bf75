//! How fast a device multiplies matrices: what the utilisation of a run is measured against.

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use uner_kernels::linear;
use uner_model::Llama;
use uner_trainer::step::forward_backward::beside_the_kernels;

/// The first size that is measured, and the largest.
const SIZES: [usize; 2] = [512, 8192];
/// A product that takes so many seconds is large enough: a larger one would be no faster.
const ENOUGH: f64 = 5e-3;
/// Products of each size; the fastest counts.
const ROUNDS: usize = 4;

/// Floating-point operations a second of the fastest square matrix product, in the type of the
/// model's weights (in f32 on the CPU, whatever these are). The size is doubled until a product
/// takes 5 ms, so that a slow device is not kept busy for long.
pub(crate) fn matmul_rate(model: &Llama, device: &Device) -> f64 {
    let [mut size, largest] = SIZES;
    let mut fastest: f64 = 0.0;
    loop {
        let seconds = product_seconds(model, device, size);
        fastest = fastest.max(2.0 * (size as f64).powi(3) / seconds);
        if seconds >= ENOUGH || size >= largest {
            return fastest;
        }
        size *= 2;
    }
}

fn product_seconds(model: &Llama, device: &Device, size: usize) -> f64 {
    let matrix = || {
        let values =
            Tensor::<2>::random([size, size], Distribution::Uniform(-1.0, 1.0), &device.clone());
        if *device == Device::flex() { values } else { values.cast(model.head().dtype()) }
    };
    let (x, weight) = (matrix(), matrix());
    beside_the_kernels(device, || {
        let rounds = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            let product = linear(x.clone(), weight.clone());
            // What fails here fails again, with a better message, in the first step.
            let _ = device.sync();
            drop(product);
            start.elapsed().as_secs_f64()
        });
        rounds.fold(f64::INFINITY, f64::min)
    })
}
