//! Plans a training run before it starts: what it does, and what it costs.
//!
//! ```text
//! Recipe (as written) ──► Sources (looked up) ──► Plan (every number, and the layout that fits)
//! ```
//!
//! This crate does not depend on the command line: benches, tests and Rust programs plan a run
//! exactly as `uner train` does.
//!
//! ```
//! use uner_plan::machine::{Machine, Ranks};
//! use uner_plan::plan::DataSize;
//! use uner_plan::{Plan, Sources, recipe};
//!
//! let sources = Sources::find(recipe::parse(&recipe::find("quickstart")?, &[])?)?;
//! let devices = &sources.recipe.run.device;
//! let machine = Machine::elsewhere(devices, None, Ranks::of_one_process(devices));
//! let plan = Plan::new(&sources, DataSize::Expected { conversations: 4_000 }, machine, None);
//! assert!(plan.fits());
//! assert!(plan.describe().contains("layout"));
//! # Ok::<(), uner_plan::recipe::RecipeError>(())
//! ```

pub mod assemble;
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
