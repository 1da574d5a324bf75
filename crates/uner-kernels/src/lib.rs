//! Fused operators as plain functions on burn tensors. Each op has a directory of its own, with a
//! `reference` in ordinary burn operations against which it is tested.
//!
//! This crate does not depend on LLaMA, parameters or files. Shapes are named after their meaning,
//! and every public function states them.

pub mod accumulate;
pub mod adamw;
pub mod add_linear;
pub mod add_rows;
pub mod attention;
pub mod cached_attention;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cuda")]
mod cuda;
pub mod device;
pub mod dropout;
#[cfg(feature = "flex")]
mod flex;
mod hash;
mod input;
pub mod linear;
pub mod linear_cross_entropy;
pub mod linear_sum;
pub mod link;
pub mod nccl;
#[cfg(all(feature = "cuda", any(test, feature = "offline")))]
pub mod offline;
#[cfg(feature = "flex")]
pub mod packed_linear;
pub mod profile;
pub mod quantized_linear;
pub mod rms_norm;
pub mod rope;
mod seeded;
pub mod sparse_linear;
pub mod squared_norm;
pub mod swiglu;

pub use accumulate::accumulate;
pub use adamw::{AdamWState, AdamWStep, adamw};
pub use add_linear::add_linear;
pub use add_rows::add_rows;
pub use attention::{Visibility, attention};
pub use cached_attention::{CacheLayout, cached_attention, store_rows};
pub use dropout::{dropout, dropped_linear};
pub use input::{Input, InputGradient};
pub use linear::linear;
pub use linear_cross_entropy::{Labels, linear_cross_entropy, token_losses};
pub use linear_sum::linear_sum;
#[cfg(feature = "flex")]
pub use packed_linear::{PackedWeight, packed_linear};
pub use quantized_linear::{QuantFormat, QuantizedWeight, quantized_linear};
pub use rms_norm::{add_rms_norm, fork_rms_norm, rms_norm};
pub use rope::{RotaryTable, rope};
pub use seeded::{SeedOps, seeded};
pub use sparse_linear::sparse_linear;
pub use squared_norm::squared_norms;
pub use swiglu::swiglu;
