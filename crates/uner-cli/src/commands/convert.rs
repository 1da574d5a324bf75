//! `uner data convert`: annotated data from one format to another.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use uner_data::convert::{convert, described_file};

use super::data::find;
use crate::args::data::ConvertArgs;

pub(crate) fn run(args: &ConvertArgs, out: &mut dyn Write) -> Result<()> {
    let (dataset, root) = match &args.from_format {
        Some(format) => {
            let path = std::path::absolute(&args.from)?;
            (described_file(&path, format)?, Path::new("").to_owned())
        }
        None => find(&args.from, args.root.as_deref())?,
    };
    let splits: Vec<&str> = args.split.iter().map(String::as_str).collect();
    let conversion = convert(&dataset, &splits, &root, &args.to, args.format)?;
    write!(out, "{conversion}")?;
    if !conversion.is_complete() {
        bail!("`{}` lacks what is listed above", args.to.display());
    }
    Ok(())
}
