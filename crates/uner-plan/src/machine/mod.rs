//! The machine of a run: its devices, their memory, and how fast they are.

mod devices;
mod memory;
mod place;
mod speed;

pub use devices::{Devices, parse};
pub use memory::{Budget, host_memory};
pub use place::Place;
pub use speed::Speed;
