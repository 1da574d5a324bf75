//! Attaches a new adapter to a model.

use burn::module::{Module, Param};
use burn::tensor::{Device, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Uniform};

use super::{Adapter, Target};
use crate::Llama;
use crate::linear::Matrix;
use crate::weights::lasting;

/// Freezes a model, but for its span head, and adds a new adapter to the layers that its settings
/// name. As in PEFT, `A` is drawn from U(-1/√in, 1/√in) (`kaiming_uniform` with `a = √5`) and `B`
/// is 0, so at first the model's output is unchanged. Each layer draws from its own random stream,
/// so its values do not depend on which other layers have an adapter.
///
/// # Panics
/// When the settings cannot be used ([`super::AdapterConfig::check`]), or the model already
/// has an adapter.
pub fn attach(model: Llama, adapter: Adapter, seed: u64) -> Llama {
    assert!(model.adapter.is_none(), "the model already has an adapter");
    let config = &adapter.config;
    config.check().unwrap_or_else(|problem| panic!("{problem}"));
    let device = model.head().device();
    let mut model = model.no_grad();
    model.span_head = model.span_head.map(|head| head.set_require_grad(true));
    for (layer, block) in model.model.layers.iter_mut().enumerate() {
        for (index, (target, (_, linear))) in
            Target::ALL.into_iter().zip(block.linears()).enumerate()
        {
            if !config.target_modules.contains(&target) {
                continue;
            }
            let [out, input] = linear.dims();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            // Random weights are drawn from stream 0 of a seed.
            rng.set_stream((layer * Target::ALL.len() + index + 1) as u64);
            let down = uniform(&mut rng, [config.rank, input]);
            linear.lora_A = Some(matrix(down, [config.rank, input], &device));
            linear.lora_B = Some(matrix(vec![0.0; out * config.rank], [out, config.rank], &device));
            linear.lora_scale = config.scale();
        }
    }
    model.adapter = Some(adapter);
    model
}

fn uniform(rng: &mut ChaCha8Rng, [rows, columns]: [usize; 2]) -> Vec<f32> {
    let bound = 1.0 / (columns as f32).sqrt();
    let uniform = Uniform::new(-bound, bound).expect("a layer has inputs");
    (0..rows * columns).map(|_| uniform.sample(rng)).collect()
}

/// Creates a trained factor with these values.
pub(super) fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Matrix {
    Matrix { weight: Param::from_tensor(lasting(TensorData::new(values, shape), device)) }
}
