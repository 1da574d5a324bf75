//! `uner data conflicts`: the same mention with different types.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use uner_data::Dataset;
use uner_data::conflicts::{ConflictConfig, Source, conflicts};

use super::data::find;
use crate::args::data::ConflictsArgs;

pub(crate) fn run(args: &ConflictsArgs, out: &mut dyn Write) -> Result<()> {
    let named = |text: &String| -> Result<(Dataset, String)> {
        let (name, split) = text.rsplit_once(':').unwrap_or((text, "train"));
        Ok((find(name, args.root.as_deref())?.0, split.to_owned()))
    };
    let named = args.datasets.iter().map(named).collect::<Result<Vec<_>>>()?;
    let sources: Vec<Source> =
        named.iter().map(|(dataset, split)| Source { dataset, split }).collect();
    let root = args.root.as_deref().unwrap_or(Path::new("data"));
    let config =
        ConflictConfig { min_count: args.min_count, listed: args.listed, ..Default::default() };
    let found = conflicts(&sources, root, &config)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
    } else {
        write!(out, "{}", found.markdown())?;
    }
    Ok(())
}
