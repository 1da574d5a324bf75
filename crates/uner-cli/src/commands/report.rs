//! `uner report`: the metrics of runs as one HTML page.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use uner_model::atomic;
use uner_report::{Course, ReportError, page};

use crate::args::ReportArgs;

/// The default file name of the page, in the folder of the first run.
const PAGE: &str = "training.html";

pub(crate) fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<()> {
    let courses: Vec<Course> =
        args.runs.iter().map(|run| Course::read(run)).collect::<Result<_, ReportError>>()?;
    let path: PathBuf = args.output.clone().unwrap_or_else(|| args.runs[0].join(PAGE));
    let page = page(&courses);
    atomic::write::<anyhow::Error>(&path, |file| Ok(file.write_all(page.as_bytes())?))?;
    writeln!(out, "{}", path.display())?;
    Ok(())
}
