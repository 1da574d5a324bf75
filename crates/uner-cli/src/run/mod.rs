//! A training run: its data, ranks, folder and monitoring.

pub(crate) mod during;
pub(crate) mod guards;
pub(crate) mod lock;
pub(crate) mod monitor;
pub(crate) mod profile;
pub(crate) mod ranks;
pub(crate) mod run_folder;
pub(crate) mod show_mask;
pub(crate) mod start;
