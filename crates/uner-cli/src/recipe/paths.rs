//! What the paths of a recipe are relative to.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{RANDOM, TRAIN};
use crate::hub;

/// The folder that a recipe's paths are relative to: its own, or, where that is called `recipes`, the one around it, so that
/// `recipes/x.toml` names `data/` and `checkpoints/` beside `recipes/`.
pub(super) fn folder_of(recipe: &Path) -> PathBuf {
    let parent = recipe.parent().unwrap_or(Path::new(""));
    let whole = std::path::absolute(recipe).ok();
    if whole.as_deref().and_then(Path::parent).and_then(Path::file_name).is_none_or(|name| name != "recipes")
    {
        return parent.to_owned();
    }
    match parent.parent() {
        Some(around) if parent.file_name().is_some() => around.to_owned(),
        _ => parent.join(".."),
    }
}

/// Puts a folder before every relative path of a recipe: what a word could be a name of is a path if it ends in `.toml` or holds a `/`.
pub(crate) fn rebase(recipe: &mut Table, folder: &Path) {
    let is_file = |text: &str| {
        text.contains('/') || Path::new(text).extension().is_some_and(|extension| extension == "toml")
    };
    let rebased = |text: &mut String| *text = folder.join(&*text).to_string_lossy().into_owned();
    let mut at = |keys: &[&str], is_path: &dyn Fn(&str) -> bool| {
        for text in texts(recipe, keys) {
            if is_path(text) {
                rebased(text);
            }
        }
    };
    at(&["run", "dir"], &|_| true);
    at(&["data", "root"], &|_| true);
    at(&["model", "weights"], &|text| text != RANDOM && !hub::is_named(text.as_ref()));
    at(&["model", "tokenizer"], &|text| text != TRAIN);
    at(&["model", "config"], &is_file);
    at(&["prompt", "template"], &is_file);
    for list in [
        &["data", "train", "dataset"][..],
        &["data", "validation", "dataset"],
        &["eval", "benchmarks", "dataset"],
        &["eval", "during", "benchmarks", "dataset"],
    ] {
        at(list, &is_file);
    }
}

/// The texts under a key of keys; lists on the way are gone through.
fn texts<'a>(table: &'a mut Table, keys: &[&str]) -> Vec<&'a mut String> {
    let Some((key, rest)) = keys.split_first() else { return Vec::new() };
    match table.get_mut(*key) {
        Some(Value::String(text)) if rest.is_empty() => vec![text],
        Some(Value::Table(inner)) => texts(inner, rest),
        Some(Value::Array(values)) => {
            values.iter_mut().filter_map(Value::as_table_mut).flat_map(|inner| texts(inner, rest)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_in_recipes_belongs_to_the_folder_around() {
        let folder = |path: &str| folder_of(Path::new(path)).display().to_string();
        assert_eq!(folder("mine.toml"), "");
        assert_eq!(folder("/a/b/mine.toml"), "/a/b");
        assert_eq!(folder("recipes/mine.toml"), "");
        assert_eq!(folder("/a/recipes/mine.toml"), "/a");
        assert_eq!(folder("../recipes/mine.toml"), "..");
    }

    #[test]
    fn names_stay_and_paths_get_the_folder() {
        let text = "run.dir = \"runs/x\"\nmodel = { weights = \"models/x\", config = \"llama-7b\", tokenizer = \"train\" }\n\
                    prompt.template = \"own.toml\"\neval.during.benchmarks = [{ dataset = \"a.toml\" }, { dataset = { name = \"b\" } }]\n\
                    data = { root = \"/data\", train = [{ dataset = \"demo\" }, { dataset = \"c/d.toml\" }] }\n";
        let mut recipe: Table = text.parse().unwrap();
        rebase(&mut recipe, Path::new("/p"));
        let text = text
            .replace("runs/x", "/p/runs/x")
            .replace("models/x", "/p/models/x")
            .replace("own.toml", "/p/own.toml")
            .replace("a.toml", "/p/a.toml")
            .replace("c/d.toml", "/p/c/d.toml");
        assert_eq!(recipe, text.parse().unwrap());
        let mut named: Table = "model.weights = \"hf:org/name\"\n".parse().unwrap();
        rebase(&mut named, Path::new("/p"));
        assert_eq!(named["model"]["weights"].as_str(), Some("hf:org/name"));
    }
}
