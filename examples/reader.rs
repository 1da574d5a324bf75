//! Converts annotations in a format that uner does not read to JSON Lines with spans, which it
//! does. A line of the input is a text and its mentions, each behind a tab: `TEXT`, `TYPE=MENTION`,
//! ….
//!
//! ```text
//! cargo run --release -p uner-examples --example reader -- mine.tsv > mine.jsonl
//! ```
//!
//! `docs/datasets.md` shows the description with which recipes and `uner data` read the result.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use uner_data::align::align;

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> Result<()> {
    let file = std::env::args().nth(1).context("name a file of tab-separated values")?;
    let input = fs_err::read_to_string(&file)?;
    for (line, number) in input.lines().zip(1..) {
        let example = convert(line).with_context(|| format!("{file}:{number}"))?;
        println!("{example}");
    }
    Ok(())
}

/// A line as an object with the keys of the format `jsonl`.
fn convert(line: &str) -> Result<serde_json::Value> {
    let mut fields = line.split('\t');
    let text = fields.next().context("the line is empty")?;
    let pair = |field: &str| {
        let (label, mention) = field.split_once('=').context("a field has no `=`")?;
        Ok((label.to_owned(), mention.to_owned()))
    };
    let (labels, mentions): (Vec<_>, Vec<_>) =
        fields.map(pair).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let spans = align(text, &mentions);
    let mut entities = Vec::new();
    for ((label, mention), span) in labels.iter().zip(&mentions).zip(spans) {
        let span = span.with_context(|| format!("`{mention}` does not occur in the text"))?;
        ensure!(!label.is_empty(), "`{mention}` has no type");
        entities.push(json!({"start": span.start, "end": span.end, "label": label}));
    }
    Ok(json!({"text": text, "entities": entities}))
}
