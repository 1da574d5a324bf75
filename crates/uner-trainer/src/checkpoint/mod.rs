//! Checkpoints: a Hugging Face folder with optimizer state, written so that an incomplete one is
//! never mistaken for a complete one.
//!
//! ```text
//! checkpoints/<run>/latest                      the name of the newest complete checkpoint
//!                   best                        the name of the best one, if the run compares them
//! checkpoints/<run>/step-000500/config.json     with model.safetensors, as transformers reads it;
//!                                              or adapter_config.json, base_model.json with
//!                                              adapter_model.safetensors, as PEFT reads it
//!                              /tokenizer.json  and other files that go with the model
//!                              /optimizer.safetensors
//!                              /state.json      the run, step, fingerprint of the data, settings
//!                              /manifest.json   size and CRC-32 of every other file; written last
//! ```
//! A checkpoint is written to `step-000500.tmp`, synced to disk, and renamed; then `latest` is
//! replaced, then `best`. The training thread only copies the state to the host ([`Snapshot`]); a
//! [`Writer`] writes it on its own thread. An exported folder has `SHA256SUMS` instead of a
//! manifest.

mod pointer;
mod read;
mod snapshot;
mod state;
mod write;
mod writer;

pub use pointer::{all, best, latest, point_best};
pub use read::{Checkpoint, load, load_classifier, load_onto};
pub use snapshot::Snapshot;
pub use state::{FORMAT_VERSION, State};
pub use write::{prune, save, sweep};
pub use writer::Writer;
