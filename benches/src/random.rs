//! Models with random weights, drawn on the device, so that nothing is read or copied.

use burn::tensor::{DType, Device, Distribution, Tensor};
use uner_model::weights::ParameterSource;
use uner_model::{Llama, LlamaConfig, WeightsError};

/// Returns the dimensions of `7b`, or of `tiny` for trials (with all ids of the LLaMA tokenizer).
///
/// # Panics
/// With another name.
pub fn config(preset: &str) -> LlamaConfig {
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

/// A model of these dimensions whose parameters have a type from the start, so that no copy in f32
/// exists.
///
/// # Panics
/// Never: every parameter is drawn.
pub fn model(config: &LlamaConfig, dtype: DType, device: &Device) -> Llama {
    let mut source =
        OnDevice { device: device.clone(), dtype, deviation: config.initializer_range };
    Llama::build(config, &mut source).expect("this source returns every parameter")
}

struct OnDevice {
    device: Device,
    dtype: DType,
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
            values.cast(self.dtype)
        };
        Ok(self.device.memory_persistent_allocations((), values))
    }
}
