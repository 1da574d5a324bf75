//! Carries out the plan of a run: its ranks, the lock and the files of its folder, its scores.
//!
//! [`train`] is `uner train` without a terminal. The caller passes callbacks that show progress and
//! ask for an end; [`Trained::measure`] scores the model afterwards.
//!
//! ```no_run
//! use uner_plan::{recipe, sources};
//! use uner_run::{Options, train};
//!
//! let source = recipe::find("recipes/quickstart.toml")?;
//! let sources = sources::resolve(recipe::parse(&source, &[])?, &[])?;
//! let options = Options {
//!     resume: None,
//!     set: &[],
//!     check_determinism: false,
//!     notify: &|notice| println!("{notice:?}"),
//!     interrupted: &|| false,
//! };
//! if let Some(trained) = train(&sources, &options)? {
//!     let report = trained.measure(&mut |_, _, _| std::ops::ControlFlow::Continue(()))?;
//!     println!("{report:?}");
//! }
//! # Ok::<(), anyhow::Error>(())
//! ```

mod adapter;
mod card;
pub mod distill;
mod evaluate;
pub mod folder;
mod guards;
pub mod lock;
mod measure;
pub mod model;
mod monitor;
mod profile;
mod ranks;
mod start;
pub mod system;
pub mod tagger;
mod train;

pub use card::card;
pub use evaluate::evaluate;
pub use guards::file as guard_file;
pub use measure::{Evaluation, write_report};
pub use profile::profile;
pub use start::{dry_plan, refuse_too_much};
pub use train::{Notice, Options, Trained, train};
