//! Writes the description of the user's dataset with comments.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{source::Label, words::plain_words};
use crate::{DataError, Dataset, format::Format};

/// Largest number of types that a description lists. A dataset with more has open types, which are
/// used as written.
const MOST_TYPES: usize = 200;

const HEAD: &str = "\
# Description of your dataset; docs/datasets.md explains every key. Check it with
#   uner data validate dataset.toml
# and correct the lines marked CHECK.
";

const TYPES: &str = "
# CHECK: each label of the files with its name in plain words, which the model is asked for. Words
# that say what the type is help most: \"prescription drug\" rather than \"drug\". Labels that you
# do not want go to `drop = [\"LABEL\"]` above this table.
[types]
";

const DEFINITIONS: &str = "
# Optional: what a type is, as a phrase that may stand for its name, and a rule of annotation. Fill
# in the types whose names are not clear on their own; empty lines count as missing.
";

/// The description: TOML that [`Dataset::from_toml`] reads.
///
/// # Errors
/// As [`Dataset::from_toml`].
pub(super) fn description(
    name: &str,
    labels: &[Label],
    format: &Format,
    splits: &[(&'static str, Vec<PathBuf>)],
    folder: &Path,
) -> Result<String, DataError> {
    let mut out = HEAD.to_owned();
    let _ = writeln!(out, "name = {}", quoted(name));
    if labels.len() > MOST_TYPES {
        let number = labels.len();
        let _ = writeln!(
            out,
            "\n# The files have {number} labels, which are used as written. The most frequent ones:"
        );
        labels.iter().take(20).for_each(|label| out.push_str(&comment_line(label)));
        out.push_str("types = \"as-written\"\n");
    } else {
        out.push_str(TYPES);
        let rows: Vec<String> = labels
            .iter()
            .map(|label| format!("{} = {}", quoted(&label.name), quoted(&plain_words(&label.name))))
            .collect();
        let width = rows.iter().map(|row| row.chars().count()).max().unwrap_or(0);
        for (row, label) in rows.iter().zip(labels) {
            let _ = writeln!(out, "{row:<width$} # {}", facts(label));
        }
        out.push_str(DEFINITIONS);
        let mut names: Vec<String> = labels.iter().map(|label| plain_words(&label.name)).collect();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        for name in names {
            let _ = write!(
                out,
                "[definitions.{}]\ndefinition = \"\"\nguideline = \"\"\n\n",
                quoted(&name)
            );
        }
    }
    write_format(format, &mut out);
    write_splits(splits, folder, &mut out);
    Dataset::from_toml(&out, "dataset.toml")?;
    Ok(out)
}

fn comment_line(label: &Label) -> String {
    format!("#   {}: {}\n", crate::visible(&label.name), facts(label))
}

/// Count and mentions of a label, on one line.
fn facts(label: &Label) -> String {
    let mentions: Vec<String> =
        label.mentions.iter().map(|mention| format!("\"{}\"", shortened(mention))).collect();
    format!("{} mentions: {}", label.count, mentions.join(", "))
}

fn shortened(mention: &str) -> String {
    let start: String = mention.chars().take(30).collect();
    let more = if start.len() < mention.len() { "…" } else { "" };
    format!("{}{more}", crate::visible(&start))
}

fn write_format(format: &Format, out: &mut String) {
    let table = toml::Table::try_from(format).unwrap_or_default();
    let table = toml::Table::from_iter([("format".to_owned(), toml::Value::Table(table))]);
    out.push_str("# How the files are written.\n");
    out.push_str(&toml::to_string(&table).unwrap_or_default());
}

/// Files in the folder are named relative to it, so that the folder can be moved.
fn write_splits(splits: &[(&'static str, Vec<PathBuf>)], folder: &Path, out: &mut String) {
    out.push_str("\n# Files of each split, relative to this file.\n[splits]\n");
    for (name, files) in splits {
        let files: Vec<String> = files
            .iter()
            .map(|file| {
                let absolute = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                let shown = file.strip_prefix(folder).unwrap_or(&absolute);
                quoted(&shown.to_string_lossy())
            })
            .collect();
        let value = match &files[..] {
            [file] => file.clone(),
            _ => format!("[{}]", files.join(", ")),
        };
        let _ = writeln!(out, "{name} = {value}");
    }
}

/// A text as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
