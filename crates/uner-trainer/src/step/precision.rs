//! The types in which numbers are stored:
//!
//! | | CPU, and GPUs without bf16 | GPU | `rounding = "stochastic"` | `moments = "8bit"` |
//! |---|---|---|---|---|
//! | parameters | f32 | bf16 | bf16 | |
//! | master weights | the parameters | f32: the parameters and [16 bits more](uner_kernels::adamw::rest) | none: each update is rounded stochastically | |
//! | activations, gradients of one micro-batch | f32 | bf16 | | |
//! | statistics of norms and softmax, loss | f32 | f32 | | |
//! | gradients of several micro-batches or ranks, their norm | f32 | f32 | | |
//! | moments | f32 | f32 | | 8 bits each, [in granules](uner_kernels::adamw::code) |
//! | the update | f32 | f32 | | |
//!
//! The last two columns are options of [`PrecisionConfig`]; either or both may be chosen. An empty
//! cell means the device's default.

use burn::tensor::{DType, Device};

use crate::config::{ConfigError, MomentFormat, PrecisionConfig, Rounding};

/// The types in which a run stores its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precision {
    /// The type of parameters.
    pub parameters: DType,
    /// The format of moments.
    pub moments: MomentFormat,
    /// The rounding of parameters that are shorter than f32.
    pub rounding: Rounding,
}

impl Default for Precision {
    /// Everything in f32.
    fn default() -> Self {
        Self::of(DType::F32)
    }
}

impl Precision {
    /// Parameters of a type, with f32 masters unless it is f32, and f32 moments.
    pub fn of(parameters: DType) -> Self {
        Self { parameters, moments: MomentFormat::Float, rounding: Rounding::Nearest }
    }

    /// The precision of a configuration on a device.
    ///
    /// # Errors
    /// When the device does not support bf16, and stochastic rounding needs it.
    pub fn new(config: Option<PrecisionConfig>, device: &Device) -> Result<Self, ConfigError> {
        let PrecisionConfig { moments, rounding } = config.unwrap_or_default();
        let parameters = match rounding {
            Rounding::Nearest => parameters(device),
            Rounding::Stochastic
                if *device == Device::flex() || device.supports_dtype(DType::BF16) =>
            {
                DType::BF16
            }
            Rounding::Stochastic => {
                let problem = "is `stochastic`, which rounds to bf16, but the device does not \
                     support bf16; use `nearest`, or a device with bf16";
                return Err(ConfigError { key: "precision.rounding", problem: problem.to_owned() });
            }
        };
        Ok(Self { parameters, moments, rounding })
    }

    /// Whether parameters have f32 masters, to which their [rests](uner_kernels::adamw::rest)
    /// complete them.
    pub fn has_masters(self) -> bool {
        self.parameters != DType::F32 && self.rounding == Rounding::Nearest
    }

    /// Whether files of type `torch_dtype` round the parameters.
    pub fn is_rounded_in(self, torch_dtype: &str) -> bool {
        match torch_dtype {
            "float32" => false,
            "bfloat16" => self.parameters != DType::BF16,
            _ => true,
        }
    }
}

/// The type in which a device computes, and the default type of its parameters.
pub fn parameters(device: &Device) -> DType {
    if *device != Device::flex() && device.supports_dtype(DType::BF16) {
        DType::BF16
    } else {
        DType::F32
    }
}
