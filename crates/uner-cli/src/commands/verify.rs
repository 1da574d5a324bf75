//! `uner verify`: compares a run's checkpoints with their checksums.

use std::io::Write;

use anyhow::{Result, ensure};
use uner_trainer::checkpoint;

use crate::args::VerifyArgs;

/// Prints a line for each intact checkpoint.
pub(crate) fn run(args: &VerifyArgs, out: &mut dyn Write) -> Result<()> {
    let folder = &args.folder;
    let mut all = checkpoint::all(folder)?;
    if all.is_empty()
        && ["manifest.json", uner_model::folder::SUMS].iter().any(|file| folder.join(file).exists())
    {
        all.push(folder.clone());
    }
    ensure!(
        !all.is_empty(),
        "`{}` is neither a run with checkpoints, nor a checkpoint or an exported model",
        folder.display()
    );
    let mut damaged = Vec::new();
    for path in &all {
        match uner_model::folder::verify(path) {
            Ok(()) => writeln!(out, "`{}` is intact", path.display())?,
            Err(problem) => damaged.push(problem.to_string()),
        }
    }
    if let Err(problem) = checkpoint::latest(folder) {
        damaged.push(problem.to_string());
    }
    ensure!(
        damaged.is_empty(),
        "{} of {} checkpoints, or the files that name them, are damaged:\n       {}",
        damaged.len(),
        all.len(),
        damaged.join("\n       ")
    );
    Ok(())
}
