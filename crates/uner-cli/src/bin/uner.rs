//! `uner`: open named-entity recognition by instruction tuning.

use std::process::ExitCode;

/// Every op of a step allocates its output; this allocator hands freed buffers on
/// (`uner_cli::allocator`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    uner_cli::main(std::env::args_os())
}
