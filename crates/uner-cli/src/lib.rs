//! The command line: the only crate that knows clap.
//!
//! stdout gets data, stderr gets messages. Exit codes: 0 done, 1 failed, 2 usage or invalid recipe,
//! 3 files missing (`--dry-run --strict`), 130 after Ctrl-C.

pub mod allocator;
mod args;
mod commands;
mod model;
mod terminal;
mod values;

pub use commands::probe;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tracing_subscriber::EnvFilter;
use uner_data::middle_cut;
use uner_plan::recipe::RecipeError;

use args::data::DataCommand;
use args::{Command, CommandLine, TrainLine};
use commands::{
    conflicts, convert, data, distill, doctor, download, encode, eval, export, import, init_domain,
    overlap, package, predict, report, score, serve, train, verify,
};
use terminal::printable::Printable;

/// The outcome of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done,
    Interrupted,
    /// Files that a planned run needs are missing.
    Missing,
}

/// `uner`: parses the arguments, runs the command, and prints its error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    carry_out(CommandLine::try_parse_from(args).map(|line| line.command))
}

/// `uner-train`, which is `uner train`.
pub fn main_of_train(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    carry_out(TrainLine::try_parse_from(args).map(|line| Command::Train(line.args)))
}

/// Characters kept at each end of a line of an error message.
const LONGEST_END: usize = 4000;

fn carry_out(command: Result<Command, clap::Error>) -> ExitCode {
    allocator::keep_freed_memory();
    let command = match command {
        Ok(command) => command,
        Err(error) => {
            // Help and version are not errors and go to stdout, as clap knows.
            let text = error.render().to_string();
            let _ = if error.use_stderr() {
                write!(Printable(io::stderr()), "{text}")
            } else {
                write!(io::stdout(), "{text}")
            };
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    talk_to_stderr();
    match execute(&command, &mut Printable(io::stdout().lock())) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Ok(Ending::Missing) => ExitCode::from(3),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format!("{error:#}");
            let lines: Vec<String> =
                message.split('\n').map(|line| middle_cut(line, LONGEST_END)).collect();
            let _ = writeln!(Printable(io::stderr()), "error: {}", lines.join("\n"));
            ExitCode::from(if error.is::<RecipeError>() { 2 } else { 1 })
        }
    }
}

/// Writes log lines to stderr without decoration; `RUST_LOG` sets the filter. Errors about OpenGL
/// are off: wgpu only looks for it if Vulkan has no GPU.
fn talk_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("warn,wgpu_hal::gles=off,uner_cli=info,uner_run=info,uner_eval=info,uner_infer=info,uner_serve=info,uner_plan::assemble=info")
    });
    let format =
        tracing_subscriber::fmt::format().without_time().with_level(false).with_target(false);
    // Fails only if a program that calls this as a library has its own subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .event_format(format)
        .with_writer(|| Printable(io::stderr()))
        .with_ansi(false)
        // Lines are dropped if the reader or the terminal is gone: an error about them would fail
        // as well, and panic.
        .log_internal_errors(false)
        .try_init();
}

fn execute(command: &Command, out: &mut dyn Write) -> Result<Ending> {
    match command {
        Command::Train(args) => return train::run(args, out),
        Command::Distill(args) => return distill::run(args, out),
        Command::Report(args) => report::run(args, out)?,
        Command::Eval(args) => return eval::run(args, out),
        Command::Compare(args) => eval::compare(args, out)?,
        Command::Reproduce(args) => eval::reproduce(args, out)?,
        Command::Predict(args) => return predict::run(args, out),
        Command::Serve(args) => return serve::run(args),
        Command::Score(args) => score::run(args, out)?,
        Command::Probe(args) => {
            let report = probe::run(args)?;
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        }
        Command::Export(args) => export::run(args)?,
        Command::Import(args) => import::run(args)?,
        Command::Verify(args) => verify::run(args, out)?,
        Command::Doctor(args) => doctor::run(args, out)?,
        Command::Completions(args) => package::completions(args, out),
        Command::Man(args) => package::man(args)?,
        Command::Data(DataCommand::Stats(args)) => data::stats(args, out)?,
        Command::Data(DataCommand::Validate(args)) => data::validate(args, out)?,
        Command::Data(DataCommand::Overlap(args)) => overlap::run(args, out)?,
        Command::InitDomain(args) => init_domain::run(args, out)?,
        Command::Data(DataCommand::Convert(args)) => convert::run(args, out)?,
        Command::Data(DataCommand::Conflicts(args)) => conflicts::run(args, out)?,
        Command::Data(DataCommand::Encode(args)) => encode::run(args)?,
        Command::Data(DataCommand::Status(args)) => data::status(args, out)?,
        Command::Data(DataCommand::Download(args)) => return download::run(args, out),
        Command::Data(DataCommand::Official(args)) => data::official(args)?,
    }
    Ok(Ending::Done)
}

/// Whether the reader of stdout is gone, as after `| head`. This is not a failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let found = error.downcast_ref::<io::Error>();
    found.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
