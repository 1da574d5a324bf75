//! The model that is trained: full, or an adapter.

use std::sync::LazyLock;

use burn::tensor::{DType, Device};
use uner_benches::random;
use uner_model::adapter::{Adapter, Base, Target, attach};
use uner_model::{AdapterConfig, Llama, LlamaConfig};
use uner_trainer::step::precision;

use crate::{Mode, SEED};

/// The adapter of `recipes/lora.toml`.
pub(crate) static ADAPTER: LazyLock<AdapterConfig> = LazyLock::new(|| AdapterConfig {
    rank: 16,
    alpha: 32.0,
    dropout: 0.05,
    target_modules: Target::ALL.into_iter().collect(),
});

/// Returns a model for a run of this mode. Trained parameters are f32, since they become the
/// masters. Frozen ones have their final type.
pub(crate) fn random(config: &LlamaConfig, mode: Mode, device: &Device) -> Llama {
    match mode {
        Mode::Full => random::model(config, DType::F32, device),
        Mode::Lora => {
            let base = random::model(config, precision::parameters(device), device);
            attach(base, adapter(), SEED)
        }
    }
}

fn adapter() -> Adapter {
    Adapter {
        config: ADAPTER.clone(),
        base: Base { path: "random".into(), fingerprint: None, form: None },
    }
}
