//! State that is stored in fewer bits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// State that is stored in fewer bits than the device's default. By default, none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrecisionConfig {
    /// How moments are stored.
    pub moments: MomentFormat,
    /// How the new value of a parameter is rounded to bf16.
    pub rounding: Rounding,
}

/// How moments are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MomentFormat {
    /// f32.
    #[default]
    #[serde(rename = "f32")]
    Float,
    /// 8 bits per moment.
    #[serde(rename = "8bit")]
    EightBit,
}

/// How the new value of a parameter is rounded to bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// To nearest, from an f32 master that keeps the full value. A device that computes in f32
    /// does not round.
    #[default]
    Nearest,
    /// Stochastically, to one of the two neighbours, so that the expectation is exact. No master is
    /// kept.
    Stochastic,
}

impl fmt::Display for MomentFormat {
    /// As it is written in a configuration.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}

impl fmt::Display for Rounding {
    /// As it is written in a configuration.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}
