//! `uner`: open named-entity recognition by instruction tuning.

use std::process::ExitCode;

fn main() -> ExitCode {
    uner_cli::main(std::env::args_os())
}
