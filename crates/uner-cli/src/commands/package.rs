//! The files that a package of the program has: completions of shells and manual pages.

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory as _;

use crate::args::CommandLine;
use crate::args::serve::{CompletionsArgs, ManArgs};

pub(crate) fn completions(args: &CompletionsArgs, out: &mut dyn Write) {
    let mut command = CommandLine::command();
    clap_complete::generate(args.shell, &mut command, "uner", &mut &mut *out);
}

pub(crate) fn man(args: &ManArgs) -> Result<()> {
    fs_err::create_dir_all(&args.folder)?;
    Ok(clap_mangen::generate_to(CommandLine::command(), &args.folder)?)
}
