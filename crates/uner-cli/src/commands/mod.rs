//! The commands, one module each.

pub(crate) mod conflicts;
pub(crate) mod convert;
pub(crate) mod data;
pub(crate) mod distill;
pub(crate) mod doctor;
pub(crate) mod download;
pub(crate) mod encode;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod init_domain;
pub(crate) mod overlap;
pub(crate) mod package;
pub(crate) mod predict;
pub mod probe;
pub(crate) mod report;
pub(crate) mod score;
pub(crate) mod serve;
pub(crate) mod show_mask;
pub(crate) mod train;
pub(crate) mod train_tagger;
pub(crate) mod verify;
