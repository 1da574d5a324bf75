//! What numbers are stored in. The policy, in one place:
//!
//! | | CPU, and GPUs without bf16 | GPU | `rounding = "stochastic"` | `moments = "8bit"` |
//! |---|---|---|---|---|
//! | parameters | f32 | bf16 | bf16 | |
//! | master weights | the parameters | f32: the parameters and [16 bits more](uner_kernels::adamw::rest) | none: each update is rounded at random | |
//! | activations, gradients of one micro-batch | f32 | bf16 | | |
//! | statistics of norms and softmax, loss | f32 | f32 | | |
//! | gradients of several micro-batches or ranks, their norm | f32 | f32 | | |
//! | moments | f32 | f32 | | 8 bits each, [in blocks](uner_kernels::adamw::code) |
//! | the update | f32 | f32 | | |
//!
//! The last two columns are what a recipe can choose, both or one; where they are empty the device
//! decides.

use burn::tensor::{DType, Device};

use crate::config::{ConfigError, MomentForm, PrecisionConfig, Rounding};

/// What a run stores its numbers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The type of parameters.
    pub parameters: DType,
    /// That of moments.
    pub moments: MomentForm,
    /// Where parameters are shorter than f32, how they are rounded.
    pub rounding: Rounding,
}

impl Default for Policy {
    /// Everything in f32.
    fn default() -> Self {
        Self::of(DType::F32)
    }
}

impl Policy {
    /// Parameters of a type, with masters where that is not f32, and f32 moments.
    pub fn of(parameters: DType) -> Self {
        Self { parameters, moments: MomentForm::Float, rounding: Rounding::Nearest }
    }

    /// What a recipe asks for on a device.
    ///
    /// # Errors
    /// When the device cannot store it.
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
                let problem = "is `stochastic`, which rounds to bf16, and the device does not compute in bf16: choose \
                     `nearest`, or a device with bf16";
                return Err(ConfigError { key: "precision.rounding", problem: problem.to_owned() });
            }
        };
        Ok(Self { parameters, moments, rounding })
    }

    /// Whether parameters have f32 masters, of which they are the upper half.
    pub fn has_masters(self) -> bool {
        self.parameters != DType::F32 && self.rounding == Rounding::Nearest
    }

    /// Whether files of this type, as `torch_dtype` names it, do not have all that parameters have.
    pub fn is_rounded_in(self, torch_dtype: &str) -> bool {
        match torch_dtype {
            "float32" => false,
            "bfloat16" => self.parameters != DType::BF16,
            _ => true,
        }
    }
}

/// The type that a device computes in, and that parameters are stored in where the recipe does not
/// say otherwise.
pub fn parameters(device: &Device) -> DType {
    if *device != Device::flex() && device.supports_dtype(DType::BF16) {
        DType::BF16
    } else {
        DType::F32
    }
}
