//! `uner data overlap`: compares training data with benchmarks.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use uner_data::{Examples, overlap::Index, read};

use super::data::find;
use crate::args::data::OverlapArgs;
use crate::terminal::progress::Meter;
use uner_plan::assemble::log_notes;

pub(crate) fn run(args: &OverlapArgs, out: &mut dyn Write) -> Result<()> {
    let open = |names: &[String], split| -> Result<Vec<(String, Examples)>> {
        names.iter().map(|name| split_of(name, split, args.root.as_deref())).collect()
    };
    // Training data is opened before the benchmarks are read, so that a missing file is an error at
    // once.
    let mut benchmarks = open(&args.against, "test")?;
    let training = open(&args.training, "train")?;
    let index = Index::new(benchmarks.iter_mut().map(|(name, examples)| (&**name, examples)))?;
    for (_, examples) in &benchmarks {
        log_notes(examples.notes());
    }
    let mut scan = index.scan();
    for (name, mut examples) in training {
        let mut meter = Meter::new(0, None);
        let shown = examples.by_ref().zip(1..).map(|(example, number)| {
            meter.show(number, || format!("passages of {name}"));
            example
        });
        scan.add(&*name, shown)?;
        log_notes(examples.notes());
    }
    let overlap = scan.overlap(args.examples);
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&overlap)?)?;
    } else {
        write!(out, "{overlap}")?;
    }
    Ok(())
}

/// Opens `dataset` or `dataset:split`, and returns it with the full name.
fn split_of(text: &str, split: &str, root: Option<&Path>) -> Result<(String, Examples)> {
    let (name, split) = text.rsplit_once(':').unwrap_or((text, split));
    let (dataset, root) = find(name, root)?;
    Ok((format!("{name}:{split}"), read(&dataset, split, &root)?))
}
