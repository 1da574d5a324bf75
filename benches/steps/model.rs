//! Models with random weights, drawn on the device, so that nothing is read or copied.

use std::sync::LazyLock;

use burn::tensor::{Device, Distribution, Tensor};
use uner_model::adapter::{Adapter, Base, Target, attach};
use uner_model::weights::ParameterSource;
use uner_model::{AdapterConfig, Llama, LlamaConfig, WeightsError};
use uner_trainer::step::precision;

use crate::{Mode, SEED};

/// The adapter of `recipes/lora.toml`.
pub(crate) static ADAPTER: LazyLock<AdapterConfig> = LazyLock::new(|| AdapterConfig {
    rank: 16,
    alpha: 32.0,
    dropout: 0.05,
    target_modules: Target::ALL.into_iter().collect(),
});

/// Returns the dimensions of `7b`, or of `tiny` for trials (with all ids of the LLaMA tokenizer).
pub(crate) fn config(preset: &str) -> LlamaConfig {
    let text = match preset {
        "7b" => {
            r#"{"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
            "vocab_size": 32000, "max_position_embeddings": 2048}"#
        }
        "tiny" => {
            r#"{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "vocab_size": 32000, "max_position_embeddings": 2048}"#
        }
        other => panic!("--preset {other}: it must be `7b` or `tiny`"),
    };
    serde_json::from_str(text).expect("valid")
}

/// Returns a model for a run of this mode. Trained parameters are f32, since they become the
/// masters. Frozen ones have their final type, so that an f32 copy of the model never exists.
pub(crate) fn random(config: &LlamaConfig, mode: Mode, device: &Device) -> Llama {
    let mut source = OnDevice { device: device.clone(), mode, deviation: config.initializer_range };
    let model = Llama::build(config, &mut source).expect("this source returns every parameter");
    match mode {
        Mode::Full => model,
        Mode::Lora => attach(model, adapter(), SEED),
    }
}

fn adapter() -> Adapter {
    Adapter {
        config: ADAPTER.clone(),
        base: Base { path: "random".into(), fingerprint: None, form: None },
    }
}

struct OnDevice {
    device: Device,
    mode: Mode,
    deviation: f64,
}

impl ParameterSource for OnDevice {
    fn tensor<const D: usize>(
        &mut self,
        _name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightsError> {
        let values = |()| {
            let values: Tensor<D> = if D == 1 {
                Tensor::ones(shape, &self.device)
            } else {
                Tensor::random(shape, Distribution::Normal(0.0, self.deviation), &self.device)
            };
            match self.mode {
                Mode::Full => values,
                Mode::Lora => values.cast(precision::parameters(&self.device)),
            }
        };
        Ok(self.device.memory_persistent_allocations((), values))
    }
}
