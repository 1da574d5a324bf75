//! `uner-train`: the main job, the same as `uner train`.

use std::process::ExitCode;

/// Every op of a step allocates its output; this allocator hands freed buffers on
/// (`uner_cli::allocator`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    uner_cli::main_of_train(std::env::args_os())
}
