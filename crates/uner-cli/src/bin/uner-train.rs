//! `uner-train`: the main job, the same as `uner train`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().collect();
    args.insert(1, "train".into());
    uner_cli::main(args)
}
