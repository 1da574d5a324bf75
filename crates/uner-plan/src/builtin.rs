//! The recipes and model dimensions of this repository, compiled into the program, so that a first
//! run needs no file.

use include_dir::{Dir, include_dir};

static RECIPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../recipes");
static EVALUATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../recipes/eval");
static DISTILLATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../recipes/distill");
static MODELS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/models");

/// The text of a built-in recipe.
pub fn recipe(name: &str) -> Option<&'static str> {
    text(&RECIPES, name)
}

/// The names of the built-in recipes, sorted.
pub fn recipe_names() -> Vec<&'static str> {
    names(&RECIPES)
}

/// The text of a built-in recipe of an evaluation.
pub fn evaluation(name: &str) -> Option<&'static str> {
    text(&EVALUATIONS, name)
}

/// The names of the built-in recipes of evaluations, sorted.
pub fn evaluation_names() -> Vec<&'static str> {
    names(&EVALUATIONS)
}

/// The text of a built-in recipe of a distillation.
pub fn distillation(name: &str) -> Option<&'static str> {
    text(&DISTILLATIONS, name)
}

/// The names of the built-in recipes of distillations, sorted.
pub fn distillation_names() -> Vec<&'static str> {
    names(&DISTILLATIONS)
}

/// The text of built-in model dimensions.
pub fn model(name: &str) -> Option<&'static str> {
    text(&MODELS, name)
}

/// The names of the built-in model dimensions, sorted.
pub fn model_names() -> Vec<&'static str> {
    names(&MODELS)
}

fn text(folder: &'static Dir<'_>, name: &str) -> Option<&'static str> {
    folder.get_file(format!("{name}.toml"))?.contents_utf8()
}

fn names(folder: &'static Dir<'_>) -> Vec<&'static str> {
    let files = folder.files().map(include_dir::File::path);
    let tomls = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let mut names: Vec<&str> = tomls.filter_map(|path| path.file_stem()?.to_str()).collect();
    names.sort_unstable();
    names
}
