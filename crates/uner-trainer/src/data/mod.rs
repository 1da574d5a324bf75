//! Encoded conversations, from the store on disk to the batches of a step.

pub mod batch;
pub mod dropout_keys;
pub mod loader;
pub mod micro_batches;
pub mod pack;
pub mod sequence;
pub mod shuffle;
pub mod store;

pub use batch::Batch;
pub use loader::Loader;
pub use store::TokenStore;
