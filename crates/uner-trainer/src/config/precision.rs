//! `[train.precision]`: what is stored in fewer bits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `[train.precision]`: what is stored in fewer bits than the device would have it. Without it
/// nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrecisionConfig {
    /// How moments are stored.
    pub moments: MomentForm,
    /// How the new value of a parameter becomes bf16.
    pub rounding: Rounding,
}

/// How moments are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MomentForm {
    /// f32.
    #[default]
    #[serde(rename = "f32")]
    Float,
    /// 8 bits each.
    #[serde(rename = "8bit")]
    EightBit,
}

/// How the new value of a parameter becomes bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// To the nearest, from a master in f32 that has all of it. A device that computes in f32
    /// rounds nothing.
    #[default]
    Nearest,
    /// To one of the two neighbours by chance, so that the expectation is exact; there is no
    /// master.
    Stochastic,
}

impl fmt::Display for MomentForm {
    /// As a recipe has it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}

impl fmt::Display for Rounding {
    /// As a recipe has it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}
