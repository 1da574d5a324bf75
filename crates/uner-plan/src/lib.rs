//! What a run will do, decided before it starts.
//!
//! ```text
//! Recipe (as written) ──► Sources (looked up) ──► Plan (every number, and the layout that fits)
//! ```
//!
//! Knows nothing of the command line: benches, tests and programs in Rust plan by it as
//! `uner train` does.

pub mod builtin;
pub mod cost;
pub mod hub;
pub mod human;
pub mod lookup;
pub mod machine;
pub mod plan;
pub mod recipe;
pub mod sources;

pub use plan::Plan;
pub use recipe::Recipe;
pub use sources::{Sources, missing_lines};
