//! Rescaling of rotary frequencies for contexts longer than in training, as in
//! `modeling_rope_utils.py` of transformers.

use std::f64::consts::{PI, TAU};

use serde::Serialize;

/// A rescaling. Its keys are those of `rope_scaling` in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// Positions are interpolated (Chen et al. 2023, "Extending Context Window of Large Language
    /// Models via Positional Interpolation").
    Linear {
        /// How much longer the context became.
        factor: f64,
    },
    /// The rescaling of LLaMA 3.1.
    Llama3 {
        /// How much longer the context became.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided by `factor`.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` stay unchanged.
        high_freq_factor: f64,
        /// Context length before the rescaling.
        original_max_position_embeddings: usize,
    },
    /// Peng et al. 2023, "`YaRN`: Efficient Context Window Extension of Large Language Models".
    Yarn {
        /// How much longer the context became.
        factor: f64,
        /// Context length before the rescaling.
        original_max_position_embeddings: usize,
        /// The factor of cosines and sines.
        attention_factor: f64,
        /// Channels that turn more often than this in the original context stay unchanged.
        beta_fast: f64,
        /// Channels that turn less often than this are interpolated.
        beta_slow: f64,
        /// Whether the boundaries between these ranges are rounded to whole channels.
        truncate: bool,
    },
}

impl RopeScaling {
    /// Rescales the angular frequencies of a head's channel pairs; `theta` is their base.
    pub(super) fn rescaled(self, frequencies: Vec<f32>, theta: f64) -> Vec<f32> {
        match self {
            Self::Linear { factor } => {
                frequencies.into_iter().map(|frequency| frequency / factor as f32).collect()
            }
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let limits = [low_freq_factor, high_freq_factor];
                let original = original_max_position_embeddings as f64;
                let rescaled = |frequency| llama3(frequency, factor, limits, original);
                frequencies.into_iter().map(rescaled).collect()
            }
            Self::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                truncate,
                ..
            } => {
                let pairs = frequencies.len();
                let channels = (2 * pairs) as f64;
                let original = original_max_position_embeddings as f64;
                let channel =
                    |turns: f64| channels * (original / (turns * TAU)).ln() / (2.0 * theta.ln());
                let [mut low, mut high] = [channel(beta_fast), channel(beta_slow)];
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min(channels - 1.0));
                if low == high {
                    high += 0.001;
                }
                let ramp =
                    |pair: usize| ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
                let rescaled = |(pair, frequency): (usize, f32)| {
                    let weight = ramp(pair);
                    frequency / factor as f32 * weight + frequency * (1.0 - weight)
                };
                frequencies.into_iter().enumerate().map(rescaled).collect()
            }
        }
    }

    /// The factor of cosines and sines.
    pub(super) fn attention_factor(self) -> f64 {
        match self {
            Self::Yarn { attention_factor, .. } => attention_factor,
            Self::Linear { .. } | Self::Llama3 { .. } => 1.0,
        }
    }
}

/// Stretches long wavelengths by `factor`, keeps short ones, and interpolates between them.
fn llama3(frequency: f32, factor: f64, [low, high]: [f64; 2], original: f64) -> f32 {
    let wavelength = 2.0 * PI / f64::from(frequency);
    let stretched = f64::from(frequency) / factor;
    if wavelength > original / low {
        stretched as f32
    } else if wavelength < original / high {
        frequency
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        ((1.0 - smooth) * stretched + smooth * f64::from(frequency)) as f32
    }
}
