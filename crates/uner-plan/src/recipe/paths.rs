//! Resolves the paths of a recipe.

use std::path::{Component, Path, PathBuf};

use toml::{Table, Value};

use super::{RANDOM, TRAIN};
use crate::hub;

/// The folder that a recipe's paths are relative to: its own folder, or the parent of a folder
/// called `recipes`. So `recipes/x.toml` and `recipes/eval/x.toml` name `data/` and `checkpoints/`
/// beside `recipes/`.
pub(super) fn folder_of(recipe: &Path) -> PathBuf {
    let parent = recipe.parent().unwrap_or(Path::new(""));
    let whole = std::path::absolute(recipe).unwrap_or_default();
    let mut names = whole.ancestors().skip(1).map(Path::file_name);
    let name = names.next().flatten();
    if name.is_some_and(|name| name == "recipes") {
        return around(parent);
    }
    let is_kind = name.is_some_and(|name| name == "eval" || name == "distill");
    if is_kind && names.next().flatten().is_some_and(|name| name == "recipes") {
        return around(&around(parent));
    }
    parent.to_owned()
}

/// The folder around a folder, by a path that may be relative.
fn around(folder: &Path) -> PathBuf {
    match folder.parent() {
        Some(around) if folder.file_name().is_some() => around.to_owned(),
        _ => folder.join(".."),
    }
}

/// A path with the home folder in place of a leading `~`.
///
/// # Errors
/// When the home folder is unknown.
pub fn at_home(path: PathBuf) -> Result<PathBuf, String> {
    let Ok(rest) = path.strip_prefix("~") else { return Ok(path) };
    let home = std::env::home_dir()
        .ok_or_else(|| format!("`{}`: the home folder is unknown; set `HOME`", path.display()))?;
    Ok(home.components().chain(rest.components()).collect())
}

/// Puts a folder before every relative path of a recipe. An empty text is not a path; it stays
/// empty and is refused later.
pub fn rebase(recipe: &mut Table, folder: &Path) {
    each_path(recipe, |text| {
        if !text.is_empty() {
            *text = folder.join(&*text).to_string_lossy().into_owned();
        }
    });
}

/// The recipe with all paths relative to the folder of its run. Such paths stay the same when a
/// project is moved as a whole.
pub fn from_run(mut recipe: Table) -> Table {
    let run = recipe.get("run").and_then(|run| run.get("dir")).and_then(Value::as_str);
    let run = normal(Path::new(run.unwrap_or_default()));
    each_path(&mut recipe, |text| {
        let path = normal(Path::new(&*text));
        let shared = run.iter().zip(&path).take_while(|(a, b)| a == b).count();
        let up = run.iter().skip(shared).map(|_| Component::ParentDir.as_os_str());
        *text =
            up.chain(path.iter().skip(shared)).collect::<PathBuf>().to_string_lossy().into_owned();
    });
    recipe
}

/// The recipe with all paths normalised by [`normal`].
pub fn normalised(mut recipe: Table) -> Table {
    each_path(&mut recipe, |text| *text = normal(Path::new(&*text)).to_string_lossy().into_owned());
    recipe
}

/// Normalises a path: removes every `.`, and every `..` with the folder before it. For comparison
/// only: if that folder is a symbolic link, `..` leads elsewhere.
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        let leads_out = component == Component::ParentDir
            && matches!(normal.components().next_back(), Some(Component::Normal(_)));
        if leads_out {
            normal.pop();
        } else if component != Component::CurDir {
            normal.push(component);
        }
    }
    normal
}

/// Changes every path of a recipe. A text that may also be a name is a path if it ends in `.toml`
/// or contains a `/`.
fn each_path(recipe: &mut Table, mut change: impl FnMut(&mut String)) {
    let is_file = |text: &str| {
        text.contains('/')
            || Path::new(text).extension().is_some_and(|extension| extension == "toml")
    };
    let mut at = |keys: &[&str], is_path: &dyn Fn(&str) -> bool| {
        for text in texts(recipe, keys) {
            if is_path(text) {
                change(text);
            }
        }
    };
    at(&["run", "dir"], &|_| true);
    at(&["data", "root"], &|_| true);
    let is_model = |text: &str| text != RANDOM && !hub::is_named(text.as_ref());
    at(&["model", "weights"], &is_model);
    at(&["teacher", "model", "weights"], &is_model);
    at(&["teacher", "model", "template"], &is_file);
    at(&["passages", "tokenizer"], &|_| true);
    at(&["report", "root"], &|_| true);
    at(&["data", "hard_negatives", "confusions"], &|_| true);
    at(&["model", "tokenizer"], &|text| text != TRAIN);
    at(&["model", "config"], &is_file);
    at(&["prompt", "template"], &is_file);
    at(&["predictions", "files", "path"], &|_| true);
    for list in [
        &["data", "train", "dataset"][..],
        &["data", "validation", "dataset"],
        &["eval", "benchmarks", "dataset"],
        &["eval", "during", "benchmarks", "dataset"],
    ] {
        at(list, &is_file);
    }
}

/// The texts at a path of keys; in a list on the way, every element is followed.
fn texts<'a>(table: &'a mut Table, keys: &[&str]) -> Vec<&'a mut String> {
    let Some((key, rest)) = keys.split_first() else { return Vec::new() };
    match table.get_mut(*key) {
        Some(Value::String(text)) if rest.is_empty() => vec![text],
        Some(Value::Table(inner)) => texts(inner, rest),
        Some(Value::Array(values)) => values
            .iter_mut()
            .filter_map(Value::as_table_mut)
            .flat_map(|inner| texts(inner, rest))
            .collect(),
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
        assert_eq!(folder("recipes/eval/mine.toml"), "");
        assert_eq!(folder("/a/recipes/eval/mine.toml"), "/a");
        assert_eq!(folder("/a/eval/mine.toml"), "/a/eval");
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
        let files = "predictions.files = [{ path = \"a.jsonl\" }]\n";
        let mut files: Table = files.parse().unwrap();
        rebase(&mut files, Path::new("/p"));
        assert_eq!(files["predictions"]["files"][0]["path"].as_str(), Some("/p/a.jsonl"));
        let mut named: Table = "model.weights = \"hf:org/name\"\n".parse().unwrap();
        rebase(&mut named, Path::new("/p"));
        assert_eq!(named["model"]["weights"].as_str(), Some("hf:org/name"));
        let mut empty: Table = "run.dir = \"\"\n".parse().unwrap();
        rebase(&mut empty, Path::new("/p"));
        assert_eq!(empty["run"]["dir"].as_str(), Some(""));
    }

    #[test]
    fn a_moved_project_has_the_same_paths_from_its_run() {
        let recipe = |project: &str| -> Table {
            format!(
                "run.dir = \"{project}/runs/x\"\nmodel.weights = \"{project}/./models/../models/x\"\nprompt.template = \"chat\"\n\
                 data.root = \"/data\"\n"
            )
            .parse()
            .unwrap()
        };
        let here = from_run(recipe("/a/b"));
        assert_eq!(here["model"]["weights"].as_str(), Some("../../models/x"));
        assert_eq!(here["prompt"]["template"].as_str(), Some("chat"));
        assert_eq!(here["model"], from_run(recipe("/c"))["model"]);
        assert_ne!(here["data"], from_run(recipe("/c"))["data"]);
        assert_eq!(normal(Path::new("../a/./b/../../../c")), Path::new("../../c"));
        assert_eq!(normal(Path::new("/a/../../b")), Path::new("/../b"));
    }
}
