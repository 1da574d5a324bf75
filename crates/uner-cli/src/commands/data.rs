//! `uner data stats` and `uner data validate`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::json;
use uner_data::{Dataset, read, registry};

use crate::args::SplitArgs;
use uner_plan::assemble::log_notes;

pub(crate) fn stats(args: &SplitArgs, out: &mut dyn Write) -> Result<()> {
    let (dataset, root) = find(args)?;
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

/// The dataset, and the folder of its files.
fn find(args: &SplitArgs) -> Result<(Dataset, PathBuf)> {
    let mut dataset = registry::find(&args.dataset)?;
    if args.root.is_some() {
        dataset.folder = None;
    }
    Ok((dataset, args.root.clone().unwrap_or_else(|| "data".into())))
}

/// Prints every problem; fails if it finds one.
pub(crate) fn validate(args: &SplitArgs, out: &mut dyn Write) -> Result<()> {
    let (dataset, root) = find(args)?;
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
