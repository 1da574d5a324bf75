//! `uner-train`: the main job, the same as `uner train`.

use std::process::ExitCode;

fn main() -> ExitCode {
    uner_cli::main_of_train(std::env::args_os())
}
