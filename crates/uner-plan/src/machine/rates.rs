//! How fast a device is at what a run mostly does, measured in a fraction of a second.

use std::time::Instant;

use burn::tensor::{DType, Device, Tensor, TensorData};
use uner_kernels::device::DeviceName;
use uner_kernels::linear;
use uner_model::LlamaConfig;
use uner_trainer::step::precision;

use crate::cost::Rates;

/// Assumed of a device that is not here: 200 TFLOP/s, about what a GPU of 2020 (A100) reaches in
/// bf16, and 1.5 TB/s.
const ASSUMED: Rates = Rates { matmul: 2e14, memory: 1.5e12 };
/// Dimensions of the product that is measured, at most: on a CPU it takes a tenth of a second then.
const HOST_PRODUCT: [usize; 3] = [512, 2048, 2048];
/// The same on a GPU: large enough to keep all of it busy.
const GPU_PRODUCT: [usize; 3] = [4096, 4096, 8192];
/// Elements of the addition that is measured.
const ADDED: [usize; 2] = [1024, 4096];
/// Seconds over which each is repeated.
const LONG_ENOUGH: f64 = 0.1;

/// The speed of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// The rates that times are computed from.
    pub rates: Rates,
    /// The product `[m, k] · [k, n]` that was measured; `None` where the rates are assumed.
    pub measured: Option<[usize; 3]>,
}

impl Speed {
    /// That of a device that is not here.
    pub const ASSUMED: Self = Self { rates: ASSUMED, measured: None };

    /// Measures products of the model's shapes, in the type that it computes in.
    pub fn measure(name: DeviceName, device: &Device, model: &LlamaConfig, tokens: usize) -> Self {
        let most = if name.is_host() { HOST_PRODUCT } else { GPU_PRODUCT };
        let wanted = [tokens, model.hidden_size, model.intermediate_size];
        let [m, k, n] = std::array::from_fn(|index| wanted[index].min(most[index]));
        let dtype = precision::parameters(device);
        let (x, weight) =
            (numbers([m, k], device).cast(dtype), numbers([n, k], device).cast(dtype));
        let product = seconds(|| linear(x.clone(), weight.clone()));
        let (a, b) = (numbers(ADDED, device), numbers(ADDED, device));
        let addition = seconds(|| a.clone().add(b.clone()));
        // Two read, one written.
        let bytes = 3.0 * (ADDED[0] * ADDED[1] * size_of::<f32>()) as f64;
        let rates = Rates { matmul: 2.0 * (m * k * n) as f64 / product, memory: bytes / addition };
        Self { rates, measured: Some([m, k, n]) }
    }
}

/// Numbers that are not all alike: a GPU multiplies zeros with less power, and so faster.
fn numbers([rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
    let values = (0..rows * columns)
        .map(|index| (index * 7919 % 1009) as f32 / 1009.0 - 0.5)
        .collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// Seconds of one `work`. The device works off what it is given in order: reading a number of the
/// last result waits for all.
fn seconds(work: impl Fn() -> Tensor<2>) -> f64 {
    let wait = |result: Tensor<2>| result.slice([0..1, 0..1]).cast(DType::F32).into_scalar::<f32>();
    wait(work());
    let mut repetitions = 1;
    loop {
        let start = Instant::now();
        for _ in 1..repetitions {
            work();
        }
        wait(work());
        let taken = start.elapsed().as_secs_f64();
        if taken >= LONG_ENOUGH {
            return taken / f64::from(repetitions);
        }
        repetitions *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_multiplies_and_adds_at_plausible_rates() {
        let text = "hidden_size = 256\nintermediate_size = 512\nnum_hidden_layers = 1\nnum_attention_heads = 4\nvocab_size = 9\n";
        let model: LlamaConfig = toml::from_str(text).unwrap();
        let speed = Speed::measure(DeviceName::Flex, &Device::flex(), &model, 64);
        assert_eq!(speed.measured, Some([64, 256, 512]));
        let Rates { matmul, memory } = speed.rates;
        assert!((1e7..1e14).contains(&matmul) && (1e7..1e13).contains(&memory), "{speed:?}");
    }
}
