//! Reproductions: the tables of the paper, with our own cells beside the published ones, and for
//! each cell that was not run the reason and the command.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use serde::Deserialize;
use uner_data::registry;

use crate::EvalError;
use crate::published::{Published, is_same_dataset, published};
use crate::report::{Outcome, Report};

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/reproductions");

/// A table of the paper.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reproduction {
    /// What the table shows, and where it is published.
    pub title: String,
    /// The list of datasets whose rows it has.
    pub list: String,
    /// What the rows do not say.
    #[serde(default)]
    pub note: String,
    /// The systems.
    #[serde(rename = "column")]
    pub columns: Vec<Column>,
}

/// A system of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name in the table.
    pub name: String,
    /// The folder with `report.json` of our evaluation.
    pub evaluation: PathBuf,
    /// The command that writes it.
    pub run: String,
    /// What the command needs.
    pub needs: String,
    /// The system of the published numbers; without it there are none.
    #[serde(default)]
    pub published: Option<PublishedColumn>,
}

/// A system in the published numbers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedColumn {
    /// [`Published::system`].
    pub system: String,
    /// [`Published::setting`].
    pub setting: String,
}

/// Our result for a cell.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    /// F1 in percent, by the paper's evaluator.
    Run(f64),
    /// The reason for which there is none.
    NotRun(String),
}

impl Reproduction {
    /// The names of the built-in tables, sorted.
    pub fn names() -> Vec<&'static str> {
        let files = BUILT_IN.files().filter_map(|file| file.path().file_stem()?.to_str());
        let mut names: Vec<&str> = files.collect();
        names.sort_unstable();
        names
    }

    /// A built-in table.
    ///
    /// # Errors
    /// [`EvalError::UnknownReproduction`].
    ///
    /// # Panics
    /// If the embedded file is malformed; a test reads all.
    pub fn load(name: &str) -> Result<Self, EvalError> {
        let file = BUILT_IN.get_file(format!("{name}.toml")).ok_or_else(|| {
            let known: Vec<String> = Self::names().iter().map(|name| format!("`{name}`")).collect();
            EvalError::UnknownReproduction { name: name.to_owned(), known: known.join(", ") }
        })?;
        let text = file.contents_utf8().expect("the files are UTF-8");
        Ok(toml::from_str(text).unwrap_or_else(|error| panic!("{name}.toml: {error}")))
    }

    /// The table as Markdown: a row for each dataset with `ours / published` for each system, the
    /// averages over the rows that have both, and the cells that were not run. Folders of
    /// evaluations are relative to `root`.
    ///
    /// # Errors
    /// When the list of datasets does not exist, or a report cannot be read.
    pub fn table(&self, root: &Path) -> Result<String, EvalError> {
        let datasets: Vec<String> =
            registry::in_list(&self.list)?.into_iter().map(|dataset| dataset.name).collect();
        let reports = self.columns.iter().map(|column| read(&root.join(&column.evaluation)));
        let reports = reports.collect::<Result<Vec<Option<Report>>, EvalError>>()?;
        let mut out = format!("{}\n\nF1 in percent, ours / published.", self.title);
        if !self.note.is_empty() {
            write!(out, " {}", self.note).expect("a string");
        }
        let heads: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let rule = "---|".repeat(heads.len() + 1);
        write!(out, "\n\n| dataset | {} |\n|{rule}\n", heads.join(" | ")).expect("a string");
        let mut sums = vec![Sums::default(); self.columns.len()];
        let mut not_run = vec![Vec::new(); self.columns.len()];
        for dataset in &datasets {
            write!(out, "| {dataset} |").expect("a string");
            let columns = self.columns.iter().zip(&reports).zip(sums.iter_mut().zip(&mut not_run));
            for ((column, report), (sums, not_run)) in columns {
                let (ours, theirs) = (cell(report.as_ref(), dataset), column.published(dataset));
                sums.add(&ours, theirs);
                write!(out, " {} / {} |", ours.shown(), shown(theirs)).expect("a string");
                if let Cell::NotRun(reason) = ours {
                    not_run.push((dataset.clone(), reason));
                }
            }
            out.push('\n');
        }
        let averages: Vec<String> = sums.iter().map(Sums::shown).collect();
        writeln!(out, "| average | {} |", averages.join(" | ")).expect("a string");
        let columns = self.columns.iter().zip(&reports).zip(not_run);
        for ((column, report), cells) in columns {
            out.push_str(&column.not_run(report.is_some(), &cells));
        }
        Ok(out)
    }
}

impl Column {
    fn published(&self, dataset: &str) -> Option<f64> {
        let PublishedColumn { system, setting } = self.published.as_ref()?;
        let is_it = |found: &&Published| found.system == *system && found.setting == *setting;
        published(dataset).iter().find(is_it).map(|found| found.f1)
    }

    /// The cells that were not run, and how to run them.
    fn not_run(&self, has_report: bool, cells: &[(String, String)]) -> String {
        if cells.is_empty() {
            return String::new();
        }
        let Self { name, evaluation, run, needs, .. } = self;
        let mut out = format!("\nNot run: {name}");
        if has_report {
            let each = cells.iter().map(|(dataset, reason)| format!("{dataset} ({reason})"));
            write!(out, " on {}.", each.collect::<Vec<_>>().join(", ")).expect("a string");
        } else {
            write!(out, ": `{}` has no report.", evaluation.display()).expect("a string");
        }
        writeln!(out, " It needs {needs}:\n\n    {run}").expect("a string");
        out
    }
}

impl Cell {
    fn shown(&self) -> String {
        match self {
            Self::Run(f1) => format!("{f1:.1}"),
            Self::NotRun(_) => "–".to_owned(),
        }
    }
}

fn shown(f1: Option<f64>) -> String {
    f1.map_or_else(|| "–".to_owned(), |f1| format!("{f1:.1}"))
}

/// Sums over the rows of a column.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Ours, over the rows that have both numbers.
    ours: f64,
    /// The published ones, over the same rows.
    beside: f64,
    both: u32,
    /// The published ones, over all rows that have one.
    published: f64,
    num_published: u32,
    rows: u32,
}

impl Sums {
    fn add(&mut self, ours: &Cell, published: Option<f64>) {
        self.rows += 1;
        let Some(published) = published else { return };
        self.published += published;
        self.num_published += 1;
        if let Cell::Run(ours) = ours {
            self.ours += ours;
            self.beside += published;
            self.both += 1;
        }
    }

    fn shown(&self) -> String {
        let Self { ours, beside, both, published, num_published, rows } = *self;
        if both == 0 {
            let average = (num_published > 0).then(|| published / f64::from(num_published));
            return format!("– / {}", shown(average));
        }
        let count = f64::from(both);
        let averages = format!("{:.1} / {:.1}", ours / count, beside / count);
        if both == rows { averages } else { format!("{averages} ({both} of {rows})") }
    }
}

/// The report in a folder; `None` if there is none.
fn read(folder: &Path) -> Result<Option<Report>, EvalError> {
    let path = folder.join("report.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = uner_data::regular::read_to_string(&path)?;
    let report = serde_json::from_str(&text).map_err(|error| EvalError::Line {
        path,
        line: error.line(),
        problem: format!("{error}; expected the report of an evaluation"),
    })?;
    Ok(Some(report))
}

fn cell(report: Option<&Report>, dataset: &str) -> Cell {
    let Some(report) = report else { return Cell::NotRun("no report".to_owned()) };
    let outcome =
        report.outcomes.iter().find(|outcome| is_same_dataset(outcome.dataset(), dataset));
    match outcome {
        Some(Outcome::Scored(scored)) if scored.is_part => {
            Cell::NotRun("only a part of the examples was measured".to_owned())
        }
        Some(Outcome::Scored(scored)) => Cell::Run(100.0 * scored.scores.official.f1),
        Some(Outcome::Missing { reason, .. }) => Cell::NotRun(reason.clone()),
        None => Cell::NotRun("not among the benchmarks of the evaluation".to_owned()),
    }
}

#[cfg(test)]
#[path = "reproduction_tests.rs"]
mod tests;
