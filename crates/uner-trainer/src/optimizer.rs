//! AdamW over a whole model, its state by checkpoint name.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use uner_kernels::{AdamWState, AdamWStep, adamw};
use uner_model::Llama;
use uner_model::parameters::map;

use crate::config::TrainConfig;
use crate::gradients::Gradients;

/// First and second moment of every parameter.
#[derive(Debug, Default)]
pub struct AdamW {
    pub(crate) states: BTreeMap<String, AdamWState>,
}

/// What changes from update to update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Learning rate.
    pub lr: f64,
    /// Number of the update, from 1.
    pub step: u64,
    /// Factor on the gradients: 1 / trained tokens × clip factor.
    pub grad_scale: f64,
}

impl AdamW {
    /// First and second moment of a parameter, `[n]` each, once it had an update.
    pub fn moments(&self, name: &str) -> Option<(&Tensor<1>, &Tensor<1>)> {
        self.states.get(name).map(|state| (&state.exp_avg, &state.exp_avg_sq))
    }

    /// One update of every parameter that has a gradient. Decay is for matrices only: norms and other vectors are left
    /// alone.
    pub fn step(
        &mut self,
        model: Llama,
        mut gradients: Gradients,
        config: &TrainConfig,
        update: Update,
    ) -> Llama {
        map(model, "", |name, shape, values| {
            let Some(gradient) = gradients.take(name) else { return values };
            let state = self.states.remove(name).unwrap_or_else(|| fresh(&values));
            let weight_decay = if shape.len() > 1 { config.weight_decay } else { 0.0 };
            let TrainConfig { beta1, beta2, eps, .. } = *config;
            let Update { lr, step, grad_scale } = update;
            let scalars = AdamWStep { lr, beta1, beta2, eps, weight_decay, step, grad_scale };
            let (values, state) = adamw(values, gradient, state, &scalars);
            self.states.insert(name.to_owned(), state);
            values
        })
    }
}

fn fresh(values: &Tensor<1>) -> AdamWState {
    AdamWState { master: None, exp_avg: values.zeros_like(), exp_avg_sq: values.zeros_like() }
}

/// The factor that brings a gradient of this norm down to `max_norm`, 1 where it is shorter; as PyTorch computes it.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}
