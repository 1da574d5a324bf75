//! Progress, notes and interrupts of a terminal.

pub(crate) mod interrupt;
pub(crate) mod printable;
pub(crate) mod progress;
