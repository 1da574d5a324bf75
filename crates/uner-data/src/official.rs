//! Rebuilds UniversalNER's zero-shot evaluation files, byte for byte, from the publishers' files of
//! CrossNER and of the MIT sets. The conversion lost some entities, and three of the files lack
//! their last sentence ([`Defect`]). Each passage has its types in an order of its own, a shuffle
//! without a known seed, so the orders of the released files are stored here. `mit-movie.json` was
//! not released: it follows the rules of `mit-restaurant.json`, and all its passages have the types
//! in the order of the description.

use std::io::Write;
use std::path::Path;

use crate::{
    DataError, Dataset, did_you_mean,
    export::conversation,
    format::{Defect, Format},
    read, registry,
};

/// A released file.
struct File {
    /// The description of its publisher's files.
    dataset: &'static str,
    /// Its name without `.json`, which is also the start of its ids.
    stem: &'static str,
    /// What its conversion lost.
    defects: &'static [Defect],
    /// One line for each passage: the types as letters, `a` for the first of the description. Empty
    /// if unknown.
    orders: &'static str,
}

const INSIDE: &[Defect] = &[Defect::LooseInside, Defect::OpenAtEnd];
const LAST: &[Defect] = &[Defect::LastSentence];

const FILES: [File; 7] = [
    File { dataset: "mit-movie", stem: "mit-movie", defects: LAST, orders: "" },
    File {
        dataset: "mit-restaurant",
        stem: "mit-restaurant",
        defects: LAST,
        orders: include_str!("official/orders/mit-restaurant.txt"),
    },
    File {
        dataset: "crossner-ai",
        stem: "CrossNER_AI",
        defects: INSIDE,
        orders: include_str!("official/orders/crossner-ai.txt"),
    },
    File {
        dataset: "crossner-literature",
        stem: "CrossNER_literature",
        defects: INSIDE,
        orders: include_str!("official/orders/crossner-literature.txt"),
    },
    File {
        dataset: "crossner-music",
        stem: "CrossNER_music",
        defects: INSIDE,
        orders: include_str!("official/orders/crossner-music.txt"),
    },
    File {
        dataset: "crossner-politics",
        stem: "CrossNER_politics",
        defects: &[Defect::LooseInside, Defect::OpenAtEnd, Defect::LastSentence],
        orders: include_str!("official/orders/crossner-politics.txt"),
    },
    File {
        dataset: "crossner-science",
        stem: "CrossNER_science",
        defects: INSIDE,
        orders: include_str!("official/orders/crossner-science.txt"),
    },
];

/// The datasets with an official file, in the order of the paper's table 3, and the names of these
/// files.
pub fn files() -> impl Iterator<Item = (&'static str, String)> {
    FILES.iter().map(|file| (file.dataset, format!("{}.json", file.stem)))
}

/// Writes the official evaluation file of a dataset from its test split below `root`. Returns the
/// number of queries.
///
/// # Errors
/// [`DataError::UnknownDataset`] if the dataset has no official file, [`DataError::Invalid`] if the
/// split is not the published one, those of [`read`], and errors of writing.
pub fn write(name: &str, root: &Path, out: &mut dyn Write) -> Result<usize, DataError> {
    let Some(file) = FILES.iter().find(|file| file.dataset == name) else {
        let known = FILES.iter().map(|file| file.dataset);
        return Err(DataError::UnknownDataset {
            name: name.to_owned(),
            hint: did_you_mean(name, known),
        });
    };
    let mut dataset = registry::find(name)?;
    if let Format::Columns(columns) = &mut dataset.format {
        columns.defects = file.defects.to_vec();
    }
    let types = dataset.entity_types();
    let mut orders = file.orders.lines();
    let (mut num_queries, mut num_passages) = (0, 0);
    for example in read(&dataset, "test", root)? {
        let example = example?;
        let order = match orders.next() {
            Some(order) => ordered(order, &types),
            None if file.orders.is_empty() => types.clone(),
            None => return Err(other_passages(&dataset, file, "more")),
        };
        num_passages += 1;
        for entity_type in order {
            let start = if num_queries == 0 { "[" } else { ", " };
            let id = format!("{}_{num_queries}", file.stem);
            let record = conversation(&id, &example, std::iter::once(entity_type));
            write!(out, "{start}{record}")?;
            num_queries += 1;
        }
    }
    if num_passages < file.orders.lines().count() {
        return Err(other_passages(&dataset, file, "fewer"));
    }
    out.write_all(b"]")?;
    Ok(num_queries)
}

/// The types in the order that a line of letters says.
fn ordered<'a>(letters: &str, types: &[&'a str]) -> Vec<&'a str> {
    letters.bytes().map(|letter| types[usize::from(letter - b'a')]).collect()
}

fn other_passages(dataset: &Dataset, file: &File, more_or_fewer: &str) -> DataError {
    DataError::Invalid {
        dataset: dataset.name.clone(),
        message: format!(
            "the test split has {more_or_fewer} passages than `{}.json`, which has {}; get the published file: {}",
            file.stem,
            file.orders.lines().count(),
            dataset.obtain
        ),
    }
}

#[cfg(test)]
mod tests;
