//! `uner init-domain`: a folder for fine-tuning on a user's own annotations.

use std::io::Write;

use anyhow::Result;
use uner_data::domain::{InitOptions, init_domain};
use uner_data::split::{GroupBy, SplitConfig};

use crate::args::InitDomainArgs;

pub(crate) fn run(args: &InitDomainArgs, out: &mut dyn Write) -> Result<()> {
    let group_by = match &args.group_by_prefix {
        Some(separator) => GroupBy::IdPrefix(separator.clone()),
        None => GroupBy::default(),
    };
    let defaults = InitOptions::default();
    let options = InitOptions {
        name: args.name.clone(),
        split: SplitConfig { seed: args.seed, group_by, ..SplitConfig::default() },
        weights: args.weights.clone().unwrap_or(defaults.weights),
        replay: args.replay.clone().unwrap_or(defaults.replay),
        ..defaults
    };
    let (files, folder) = args.paths.split_at(args.paths.len() - 1);
    Ok(write!(out, "{}", init_domain(files, &folder[0], &options)?)?)
}
