//! `uner data download`: fetches the files of datasets from their publishers.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use uner_data::{Dataset, registry};
use uner_download::{DownloadError, Options, Phase, Progress, Summary, download};

use crate::Ending;
use crate::args::data::DownloadArgs;
use crate::terminal::interrupt;
use crate::terminal::progress::Meter;

/// Downloads each dataset in turn. One that fails does not end the others.
pub(crate) fn run(args: &DownloadArgs, out: &mut dyn Write) -> Result<Ending> {
    let datasets: Vec<Dataset> = match &args.list {
        Some(list) => registry::in_list(list)?,
        None => args.datasets.iter().map(|name| registry::find(name)).collect::<Result<_, _>>()?,
    };
    let options = Options { licence_accepted: args.accept_licence, ..Options::default() };
    interrupt::watch()?;
    let mut failures = 0;
    for dataset in &datasets {
        match download(dataset, &args.root, &options, &mut metered()) {
            Ok(summary) => print(dataset, &summary, out)?,
            Err(DownloadError::Cancelled) => {
                tracing::warn!("interrupted; the same command continues the download");
                return Ok(Ending::Interrupted);
            }
            // The error of a single dataset is that of the command.
            Err(error) if datasets.len() == 1 => return Err(error.into()),
            Err(error) => {
                failures += 1;
                tracing::warn!("`{}`: {error}", dataset.name);
            }
        }
    }
    if failures > 0 {
        bail!("{failures} of {} datasets were not downloaded", datasets.len());
    }
    Ok(Ending::Done)
}

fn print(dataset: &Dataset, summary: &Summary, out: &mut dyn Write) -> Result<()> {
    for file in &summary.files {
        let state = match (file.is_new, file.is_verified) {
            (true, true) => "downloaded",
            (true, false) => "downloaded, without a checksum to compare",
            (false, _) => "exists",
        };
        writeln!(out, "{}: {state}", file.path.display())?;
    }
    for path in &summary.missing {
        writeln!(out, "{}: missing; {}", path.display(), dataset.obtain)?;
    }
    Ok(())
}

/// Progress callback that shows a meter for each file.
fn metered() -> impl FnMut(&Progress<'_>) -> ControlFlow<()> {
    let mut shown: Option<(PathBuf, Meter)> = None;
    move |progress: &Progress<'_>| {
        let Progress { path, bytes, total, phase } = progress;
        if shown.as_ref().is_none_or(|(other, _)| other != path) {
            shown = Some((path.to_path_buf(), Meter::new(*bytes, *total)));
        }
        if let Some((_, meter)) = &mut shown {
            meter.show(*bytes, || message(path, phase));
        }
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn message(path: &Path, phase: &Phase) -> String {
    let path = path.display();
    match phase {
        Phase::Checking => format!("bytes of {path} checked"),
        Phase::Downloading => format!("bytes of {path}"),
        Phase::Waiting { problem, rest } => {
            format!("bytes of {path}; trying again in {} s: {problem}", rest.as_secs() + 1)
        }
        Phase::Unpacking => format!("bytes of {path} unpacked"),
    }
}
