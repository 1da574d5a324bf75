//! Random weights. They depend on the seed only, not on the machine or device.

use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal};

use super::{ParameterSource, WeightsError, lasting};
use crate::{Llama, LlamaConfig};

/// A model with matrices from N(0, `initializer_range`²), norms of 1 and biases of 0, as
/// transformers initialises LLaMA.
///
/// # Panics
/// When `initializer_range` is negative or not finite.
pub fn random(config: &LlamaConfig, seed: u64, device: &Device) -> Llama {
    let mut source = Random::new(config.initializer_range, seed, device);
    let body = LlamaConfig { span_head: false, ..config.clone() };
    let model = Llama::build(&body, &mut source).expect("this source returns every parameter");
    if config.span_head { model.with_span_head(config, seed) } else { model }
}

/// A source of random parameters.
pub(crate) struct Random {
    normal: Normal<f32>,
    rng: ChaCha8Rng,
    device: Device,
}

impl Random {
    /// Draws matrices from N(0, `deviation`²).
    ///
    /// # Panics
    /// When `deviation` is negative or not finite.
    pub(crate) fn new(deviation: f64, seed: u64, device: &Device) -> Self {
        Self {
            normal: Normal::new(0.0, deviation as f32).expect("a finite standard deviation"),
            rng: ChaCha8Rng::seed_from_u64(seed),
            device: device.clone(),
        }
    }
}

impl ParameterSource for Random {
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightsError> {
        if name.rsplit('.').next() == Some("bias") {
            return Ok(Tensor::zeros(shape, &self.device));
        }
        if D == 1 {
            return Ok(Tensor::ones(shape, &self.device));
        }
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.normal.sample(&mut self.rng)).collect();
        Ok(lasting(TensorData::new(values, shape), &self.device))
    }
}
