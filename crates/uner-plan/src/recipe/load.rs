//! Finds a recipe by name, and reads its values.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};
use uner_data::{did_you_mean, nearest};

use super::locate::{line_at, line_of};
use super::overrides::Reading;
use super::paths::{at_home, folder_of, rebase};
use super::{Override, Recipe, RecipeError};
use crate::builtin;

/// The text of a recipe and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeText {
    /// Path of the file, or `quickstart (built in)`.
    pub origin: String,
    /// The text of the file.
    pub text: String,
    /// The folder that its paths are relative to; empty for the current folder.
    pub folder: PathBuf,
}

/// Finds a recipe. A path is read as it is; a bare name is looked up in the current folder, then in
/// `recipes/`, then among the built-in recipes.
///
/// # Errors
/// [`RecipeError::Unknown`], or [`RecipeError::Io`] for a path that cannot be read.
pub fn find(name: &str) -> Result<RecipeText, RecipeError> {
    find_in(name, "recipes", builtin::recipe, &builtin::recipe_names())
}

/// As [`find`], for the recipe of an evaluation, which is looked up in `recipes/eval/`.
///
/// # Errors
/// As [`find`].
pub fn find_evaluation(name: &str) -> Result<RecipeText, RecipeError> {
    find_in(name, "recipes/eval", builtin::evaluation, &builtin::evaluation_names())
}

/// As [`find`], for the recipe of a distillation, which is looked up in `recipes/distill/`.
///
/// # Errors
/// As [`find`].
pub fn find_distillation(name: &str) -> Result<RecipeText, RecipeError> {
    find_in(name, "recipes/distill", builtin::distillation, &builtin::distillation_names())
}

fn find_in(
    name: &str,
    folder: &str,
    text: fn(&str) -> Option<&'static str>,
    names: &[&'static str],
) -> Result<RecipeText, RecipeError> {
    let read = |path: &Path| -> Result<RecipeText, RecipeError> {
        let text = uner_data::regular::read_to_string(&std::path::absolute(path)?)?;
        Ok(RecipeText { origin: path.display().to_string(), text, folder: folder_of(path) })
    };
    let path = at_home(name.into())
        .map_err(|problem| RecipeError::Key { place: "--recipe".to_owned(), problem })?;
    if path.components().count() > 1 {
        return read(&path);
    }
    let stem = name.strip_suffix(".toml").unwrap_or(name);
    let file = format!("{stem}.toml");
    for candidate in [Path::new(&file).to_owned(), Path::new(folder).join(&file)] {
        if candidate.is_file() {
            return read(&candidate);
        }
    }
    if let Some(text) = text(stem) {
        return Ok(RecipeText {
            origin: format!("{stem} (built in)"),
            text: text.to_owned(),
            folder: PathBuf::new(),
        });
    }
    Err(RecipeError::Unknown {
        name: name.to_owned(),
        hint: did_you_mean(stem, names.iter().copied()),
        known: names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    })
}

/// Reads a recipe and applies overrides to it. Paths in the recipe are relative to its folder,
/// paths in overrides to the current folder.
///
/// # Errors
/// [`RecipeError::Syntax`] or [`RecipeError::Key`], with the line or the override at fault. One
/// error names all keys that are missing or wrong, up to 20.
pub fn parse(source: &RecipeText, overrides: &[Override]) -> Result<Recipe, RecipeError> {
    parse_as(source, overrides)
}

/// As [`parse`], for any kind of recipe.
///
/// # Errors
/// As [`parse`].
pub fn parse_as<R: DeserializeOwned>(
    source: &RecipeText,
    overrides: &[Override],
) -> Result<R, RecipeError> {
    let mut written: Table =
        source.text.parse().map_err(|error: toml::de::Error| RecipeError::Syntax {
            file: source.origin.clone(),
            line: error.span().map_or(1, |span| line_at(&source.text, span.start)),
            problem: error.message().to_owned(),
        })?;
    let at_home = |problem| RecipeError::Key { place: source.origin.clone(), problem };
    expand_home(&mut written).map_err(at_home)?;
    if let Some(Value::Table(data)) = written.get_mut("data") {
        data.entry("root").or_insert_with(|| "data".into());
    }
    rebase(&mut written, &source.folder);
    let mut readings = vec![Reading::Toml; overrides.len()];
    let mut problems = Vec::new();
    loop {
        let mut table = written.clone();
        for (override_, reading) in overrides.iter().zip(&readings) {
            override_.apply(&mut table, *reading);
        }
        expand_home(&mut table).map_err(at_home)?;
        let error = match serde_path_to_error::deserialize(table) {
            Ok(recipe) if problems.is_empty() => return Ok(recipe),
            Ok(_) => return Err(together(source, problems)),
            Err(error) => error,
        };
        let culprit = overrides.iter().rposition(|override_| covers(override_, error.path()));
        match culprit {
            // The key may be text although the value looks like a number: only the schema knows.
            Some(index)
                if readings[index] == Reading::Toml && wants_text(&error, &overrides[index]) =>
            {
                readings[index] = Reading::Text;
            }
            _ => {
                problems.push(key_error(source, culprit.map(|index| &overrides[index]), &error));
                if problems.len() == MOST_PROBLEMS
                    || culprit.is_some()
                    || repair(&mut written, error.path(), error.inner().message()).is_none()
                {
                    return Err(together(source, problems));
                }
            }
        }
    }
}

/// The keys that neither a recipe nor the command line sets, each as `train.lr = 2e-5`.
///
/// # Panics
/// Never: every recipe can be serialised.
pub fn defaults(
    source: &RecipeText,
    overrides: &[Override],
    recipe: &impl Serialize,
) -> Vec<String> {
    let mut written: Table = source.text.parse().unwrap_or_default();
    for override_ in overrides {
        override_.apply(&mut written, Reading::Toml);
    }
    let mut found = Vec::new();
    unwritten(&Table::try_from(recipe).expect("a recipe is TOML"), &written, "", &mut found);
    found
}

fn unwritten(complete: &Table, written: &Table, section: &str, found: &mut Vec<String>) {
    let empty = Table::new();
    for (key, value) in complete {
        match (value, written.get(key)) {
            (Value::Table(inner), part) => {
                let part = part.map_or(Some(&empty), Value::as_table).unwrap_or(&empty);
                unwritten(inner, part, &format!("{section}{key}."), found);
            }
            // As people write it: 2e-5, not 0.00002.
            (Value::Float(value), None) => found.push(format!("{section}{key} = {value:?}")),
            (value, None) => found.push(format!("{section}{key} = {value}")),
            _ => {}
        }
    }
}

/// Most problems that one error names: the recipe is read once for each.
const MOST_PROBLEMS: usize = 20;

/// Removes this problem from a table, so that the next read finds the others. An unknown key is
/// removed, or renamed to the nearest known key. A missing or wrong key gets its value from a
/// built-in recipe. `None` if the problem cannot be removed.
fn repair(table: &mut Table, path: &serde_path_to_error::Path, message: &str) -> Option<()> {
    let mut steps: Vec<&Segment> = path.iter().collect();
    let (is_unknown, is_missing) =
        (message.starts_with("unknown field"), message.starts_with("missing field"));
    let name = if is_unknown || is_missing {
        let name = message.split('`').nth(1)?;
        steps.pop_if(|last| matches!(last, Segment::Map { key } if key == name));
        name
    } else {
        let Segment::Map { key } = steps.pop()? else { return None };
        key
    };
    let parent = follow(table, &steps)?;
    let value = parent.remove(name);
    if is_unknown {
        // The key that was misspelled must not be reported as missing too.
        let meant = nearest(name, message.split('`').skip(3).step_by(2));
        parent.extend(meant.zip(value).map(|(meant, value)| (meant.to_owned(), value)));
    } else {
        let good = builtin::recipe_names().into_iter().find_map(|recipe| {
            let mut complete: Table = builtin::recipe(recipe)?.parse().ok()?;
            follow(&mut complete, &steps)?.remove(name)
        });
        if is_missing && good.is_none() {
            return None;
        }
        parent.extend(good.map(|good| (name.to_owned(), good)));
    }
    Some(())
}

/// The inner table that `steps` lead to. A step past the end of a list leads to its last
/// element.
fn follow<'a>(mut table: &'a mut Table, steps: &[&Segment]) -> Option<&'a mut Table> {
    let mut steps = steps.iter();
    while let Some(step) = steps.next() {
        let Segment::Map { key } = step else { return None };
        let mut value = table.get_mut(key)?;
        while let Value::Array(list) = value {
            let Some(Segment::Seq { index }) = steps.next() else { return None };
            let last = list.len().checked_sub(1)?;
            value = &mut list[(*index).min(last)];
        }
        table = value.as_table_mut()?;
    }
    Some(table)
}

/// Joins several errors into one.
fn together(source: &RecipeText, mut problems: Vec<RecipeError>) -> RecipeError {
    if problems.len() == 1 {
        return problems.remove(0);
    }
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let problem =
        format!("{} keys are missing or wrong:\n       {}", lines.len(), lines.join("\n       "));
    RecipeError::Key { place: source.origin.clone(), problem }
}

/// Replaces a leading `~/` by the home folder; a shell does not do so in a file or behind `=`.
fn expand_home(table: &mut Table) -> Result<(), String> {
    table.iter_mut().try_for_each(|(_, value)| expand(value))
}

fn expand(value: &mut Value) -> Result<(), String> {
    match value {
        Value::String(text) if text == "~" || text.starts_with("~/") => {
            *text = at_home(text.as_str().into())?.display().to_string();
            Ok(())
        }
        Value::Array(values) => values.iter_mut().try_for_each(expand),
        Value::Table(table) => expand_home(table),
        _ => Ok(()),
    }
}

fn wants_text(error: &serde_path_to_error::Error<toml::de::Error>, override_: &Override) -> bool {
    !override_.is_text() && error.inner().message().ends_with("string")
}

/// Whether an override wrote the value at `path`.
fn covers(override_: &Override, path: &serde_path_to_error::Path) -> bool {
    let names: Vec<&str> = path
        .iter()
        .map_while(|segment| match segment {
            Segment::Map { key } => Some(key.as_str()),
            _ => None,
        })
        .collect();
    names.len() >= override_.key.len() && override_.key.iter().zip(names).all(|(a, b)| a == b)
}

fn key_error(
    source: &RecipeText,
    culprit: Option<&Override>,
    error: &serde_path_to_error::Error<toml::de::Error>,
) -> RecipeError {
    let location = match (culprit, line_of(&source.text, error.path())) {
        (Some(culprit), _) => format!("`{culprit}`"),
        (None, Some(line)) => format!("{}:{line}", source.origin),
        (None, None) => source.origin.clone(),
    };
    let path = error.path().to_string();
    RecipeError::Key { place: location, problem: explain(&path, error.inner().message()) }
}

/// Rewrites serde's message in the terms of a recipe.
fn explain(path: &str, message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let section = |name: &str| {
        let path = path.strip_suffix(name).map_or(path, |path| path.trim_end_matches('.'));
        if path.is_empty() || path == "." { name.to_owned() } else { format!("{path}.{name}") }
    };
    if let (Some(_), [name, expected @ ..]) =
        (message.strip_prefix("unknown field"), quoted.as_slice())
    {
        let expected_list =
            expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let hint = did_you_mean(name, expected.iter().copied());
        return format!("unknown key `{}`{hint}; known here are {expected_list}", section(name));
    }
    if let (Some(_), [name, ..]) = (message.strip_prefix("missing field"), quoted.as_slice()) {
        return format!("`{}` is missing; a recipe must set it", section(name));
    }
    if let (Some(_), [name, expected @ ..]) =
        (message.strip_prefix("unknown variant"), quoted.as_slice())
    {
        let expected_list =
            expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let hint = did_you_mean(name, expected.iter().copied());
        return format!("`{path}` is `{name}`{hint}; it must be one of {expected_list}");
    }
    let message =
        ["f64", "usize", "u64", "u32"].iter().fold(message.to_owned(), |message, number| {
            let words = if *number == "f64" {
                "a number"
            } else {
                "a whole number from 0 to 9223372036854775807"
            };
            message.replace(&format!("expected {number}"), &format!("expected {words}"))
        });
    format!("`{path}`: {message}")
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
