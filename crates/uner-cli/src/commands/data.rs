//! `uner data stats`, `validate`, `status` and `official`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::json;
use uner_data::registry::Presence;
use uner_data::{Access, Dataset, official, read, registry};
use uner_plan::human::bytes;

use crate::args::data::{OfficialArgs, SplitArgs, StatusArgs};
use uner_plan::assemble::log_notes;

pub(crate) fn stats(args: &SplitArgs, out: &mut dyn Write) -> Result<()> {
    let (dataset, root) = find(&args.dataset, args.root.as_deref())?;
    let mut examples = read(&dataset, &args.split, &root)?;
    let stats = uner_data::stats(examples.by_ref())?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&stats)?)?;
    } else {
        write!(out, "{stats}")?;
    }
    log_notes(examples.notes());
    Ok(())
}

/// A dataset, and the folder of its files: `root` if it is given.
pub(super) fn find(name: &str, root: Option<&Path>) -> Result<(Dataset, PathBuf)> {
    let mut dataset = registry::find(name)?;
    if root.is_some() {
        dataset.folder = None;
    }
    Ok((dataset, root.unwrap_or(Path::new("data")).to_owned()))
}

/// Prints every problem; fails if it finds one.
pub(crate) fn validate(args: &SplitArgs, out: &mut dyn Write) -> Result<()> {
    let (dataset, root) = find(&args.dataset, args.root.as_deref())?;
    let found = uner_data::validate(&dataset, &args.split, &root)?;
    let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    if args.json {
        let json = json!({
            "num_examples": found.num_examples, "num_entities": found.num_entities, "num_problems": found.num_problems(),
            "problems": problems,
        });
        writeln!(out, "{json:#}")?;
    } else {
        for problem in &problems {
            writeln!(out, "{problem}")?;
        }
        for (first, count) in &found.more {
            writeln!(out, "and {count} more of this kind: {first}")?;
        }
        writeln!(out, "{} examples, {} entities", found.num_examples, found.num_entities)?;
    }
    log_notes(&found.notes);
    for warning in found.warnings.to_string().lines() {
        tracing::warn!("probably a slip: {warning}");
    }
    if !problems.is_empty() {
        bail!("split `{}` of `{}` has {} problems", args.split, dataset.name, found.num_problems());
    }
    Ok(())
}

/// Prints which datasets exist below `root`, as a table, and how to get the others.
pub(crate) fn status(args: &StatusArgs, out: &mut dyn Write) -> Result<()> {
    let datasets: Vec<Dataset> = match &args.list {
        Some(list) => registry::in_list(list)?,
        None if args.datasets.is_empty() => {
            registry::names().into_iter().map(registry::find).collect::<Result<_, _>>()?
        }
        None => args.datasets.iter().map(|name| registry::find(name)).collect::<Result<_, _>>()?,
    };
    let found = datasets
        .iter()
        .map(|dataset| registry::status(dataset, &args.root))
        .collect::<Result<Vec<_>, _>>()?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
        return Ok(());
    }
    let width = found.iter().map(|status| status.name.len()).max().unwrap_or(0);
    for status in &found {
        let access = status.access.map_or("", Access::name);
        let state = match status.presence() {
            Presence::Present => "present",
            Presence::Partial => "partial",
            Presence::Missing => "missing",
        };
        writeln!(
            out,
            "{:<width$}  {state}  {:>8}  {:<14}  {access:<12}  {}",
            status.name,
            bytes(status.bytes()),
            status.domain,
            status.licence,
        )?;
        if status.presence() != Presence::Present && !status.obtain.is_empty() {
            writeln!(out, "{:<width$}  get it: {}", "", status.obtain)?;
        }
    }
    let present = found.iter().filter(|status| status.presence() == Presence::Present).count();
    writeln!(
        out,
        "{present} of {} datasets are complete below `{}`",
        found.len(),
        args.root.display()
    )?;
    Ok(())
}

/// Writes the official evaluation files of those datasets that exist.
pub(crate) fn official(args: &OfficialArgs) -> Result<()> {
    fs_err::create_dir_all(&args.output)?;
    let mut written = 0;
    for (dataset, name) in official::files() {
        let mut file = Vec::new();
        match official::write(dataset, &args.root, &mut file) {
            Ok(queries) => {
                let path = args.output.join(&name);
                uner_model::atomic::write::<anyhow::Error>(&path, |out| Ok(out.write_all(&file)?))?;
                tracing::info!("wrote `{}`: {queries} queries", path.display());
                written += 1;
            }
            Err(error @ uner_data::DataError::MissingFile { .. }) => {
                tracing::warn!("`{name}` is not written: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if written == 0 {
        bail!("no dataset with an official file exists below `{}`", args.root.display());
    }
    Ok(())
}
