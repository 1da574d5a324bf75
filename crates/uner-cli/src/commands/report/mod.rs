//! `uner report`: the metrics of one or more runs as one self-contained HTML page.
//!
//! It reads `metrics.jsonl` (of an unfinished run, too) and `recipe.toml` in the folder of each
//! run.

mod course;
mod draw;
mod page;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

use crate::args::ReportArgs;
use course::Course;
use uner_model::atomic;

/// The default file name of the page, in the folder of the first run.
const PAGE: &str = "training.html";

pub(crate) fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<()> {
    let courses = args.runs.iter().map(|run| Course::read(run)).collect::<Result<Vec<_>>>()?;
    let path: PathBuf = args.output.clone().unwrap_or_else(|| args.runs[0].join(PAGE));
    let page = page::page(&courses);
    atomic::write::<anyhow::Error>(&path, |file| Ok(file.write_all(page.as_bytes())?))?;
    writeln!(out, "{}", path.display())?;
    Ok(())
}
