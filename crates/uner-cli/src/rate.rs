//! How fast a device multiplies matrices: what the utilisation of a run is measured against.

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use uner_kernels::linear;
use uner_model::Llama;
use uner_trainer::step::beside_the_kernels;

/// Products that are measured; the fastest counts.
const ROUNDS: usize = 4;

/// Floating-point operations a second of a large matrix product in the type of the model's weights (in f32 on the CPU,
/// whatever these are): 1024³ on the CPU, 8192³ on a GPU.
pub(crate) fn matmul_rate(model: &Llama, device: &Device) -> f64 {
    let is_cpu = *device == Device::flex();
    let size = if is_cpu { 1024 } else { 8192 };
    let matrix = || {
        let values = Tensor::<2>::random([size, size], Distribution::Uniform(-1.0, 1.0), &device.clone());
        if is_cpu { values } else { values.cast(model.head().dtype()) }
    };
    let (x, weight) = (matrix(), matrix());
    let seconds = beside_the_kernels(device, || {
        let rounds = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            let product = linear(x.clone(), weight.clone());
            // What fails here fails again, with a better message, in the first step.
            let _ = device.sync();
            drop(product);
            start.elapsed().as_secs_f64()
        });
        rounds.fold(f64::INFINITY, f64::min)
    });
    2.0 * (size as f64).powi(3) / seconds
}
