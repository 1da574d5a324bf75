//! `uner report`: the course of a run, or of several, as one HTML page with nothing beside it.
//!
//! Everything is read from the folder of the run: `metrics.jsonl`, of an unfinished run too, and
//! `recipe.toml`.

mod course;
mod draw;
mod page;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

use crate::args::ReportArgs;
use crate::atomic;
use course::Course;

/// Called so in the folder of the first run, unless the command line says otherwise.
const PAGE: &str = "training.html";

pub(crate) fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<()> {
    let courses = args.runs.iter().map(|run| Course::read(run)).collect::<Result<Vec<_>>>()?;
    let path: PathBuf = args.output.clone().unwrap_or_else(|| args.runs[0].join(PAGE));
    let page = page::page(&courses);
    atomic::write(&path, |file| Ok(file.write_all(page.as_bytes())?))?;
    writeln!(out, "{}", path.display())?;
    Ok(())
}
