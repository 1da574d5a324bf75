//! The folder of a run.
//!
//! ```text
//! checkpoints/<run>/recipe.toml        the recipe, `--set` included
//!                   plan.toml          the plan made from it; also in every checkpoint
//!                   metrics.jsonl      a line per event; events.out.tfevents… for TensorBoard
//!                   guards/            the conversations of steps that triggered a guard
//!                   tokenizer.json     (or tokenizer.model); as the next three, in checkpoints
//!                   template.toml      the template
//!                   infer.toml         how answers are generated
//!                   types.txt          the trained entity types, from frequent to rare
//!                   step-000500/       checkpoints, latest and best
//!                   report.html        scores, and report.md, report.json
//!                   evaluation.json    what was measured
//!                   predictions/       the answers that were scored
//!                   eval/demo-test/    the same files of `uner eval`
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use uner_data::regular;
use uner_infer::{INFER, TEMPLATE, TYPES};
use uner_model::atomic;
use uner_plan::assemble::Assembled;
use uner_plan::plan::PLAN;
use uner_plan::recipe::RecipeError;
use uner_plan::{Plan, Sources};
use uner_prompt::{Tokenizer, tokenizer_in};
use uner_trainer::checkpoint;

const RECIPE: &str = "recipe.toml";
/// Files that `Tokenizer::save` may write.
const TOKENIZER_FILES: [&str; 3] = ["tokenizer.json", "tokenizer.model", "tokenizer_config.json"];

/// Refuses to start a run in a folder whose files it would overwrite: a model, or a user's recipe.
/// `is_run` says whether the recipe is that of a run that began there.
///
/// # Errors
/// Names the file.
pub(crate) fn refuse_other_folder(folder: &Path, is_run: bool) -> Result<()> {
    let found = ["config.json", "model.safetensors", RECIPE]
        .into_iter()
        .find(|name| folder.join(name).exists());
    match found {
        Some(name) if !is_run || name != RECIPE => bail!(
            "`run.dir` is `{}`, which holds `{name}` and is not the folder of a run; choose another folder by `--set run.dir=…`",
            folder.display()
        ),
        _ => Ok(()),
    }
}

/// Refuses to start a run in the folder of another. Files of a run that died before its first
/// checkpoint are overwritten.
///
/// # Errors
/// [`RecipeError::RunExists`] when the folder has a checkpoint, whatever `latest` says.
pub(crate) fn refuse_second_run(folder: &Path) -> Result<()> {
    if checkpoint::all(folder)?.is_empty() {
        return Ok(());
    }
    Err(RecipeError::RunExists(folder.to_owned()).into())
}

/// The checkpoint that `--resume` means: `latest`, or a path.
///
/// # Errors
/// [`RecipeError::NothingToResume`] when it does not exist; also when it is unfinished or damaged.
pub(crate) fn to_resume(folder: &Path, which: &str) -> Result<PathBuf> {
    if which == "latest" {
        return newest(folder);
    }
    let found = PathBuf::from(which);
    if !found.is_dir() {
        let there: Vec<String> =
            checkpoint::all(folder)?.iter().map(|path| format!("`{}`", path.display())).collect();
        ensure!(!there.is_empty(), RecipeError::NothingToResume(found),);
        bail!("checkpoint `{which}` does not exist; the run has {}", there.join(", "));
    }
    if !checkpoint::all(&found)?.is_empty() {
        return newest(&found);
    }
    uner_model::folder::verify(&found)?;
    Ok(found)
}

/// Replaces a run's folder by its best checkpoint if it has one, else by its latest.
///
/// # Errors
/// When it is not a folder, or no checkpoint of the run is intact.
pub fn resolve(folder: &Path) -> Result<PathBuf> {
    if !folder.is_dir() {
        bail!(
            "`{}` is not a folder; `--model` takes a checkpoint, a Hugging Face folder, or `hf:org/name`",
            folder.display()
        );
    }
    match checkpoint::best(folder)? {
        Some(best) => Ok(best),
        None if checkpoint::all(folder)?.is_empty() => Ok(folder.to_owned()),
        None => newest(folder),
    }
}

/// The checkpoint that `latest` of a run names, or the newest intact one if that is missing or
/// damaged.
fn newest(folder: &Path) -> Result<PathBuf> {
    let named = checkpoint::latest(folder).and_then(|found| {
        found.as_deref().map_or(Ok(()), uner_model::folder::verify)?;
        Ok(found)
    });
    let problem = match named {
        Ok(Some(found)) => return Ok(found),
        Ok(None) => format!("`{}` is missing", folder.join("latest").display()),
        Err(problem) => problem.to_string(),
    };
    let all = checkpoint::all(folder)?;
    if all.is_empty() {
        return Err(RecipeError::NothingToResume(folder.to_owned()).into());
    }
    let whole = all.iter().rev().find(|path| uner_model::folder::verify(path).is_ok());
    let found = whole
        .with_context(|| format!("{problem}; no checkpoint of `{}` is intact", folder.display()))?;
    tracing::warn!("{problem}; using `{}`, the newest intact checkpoint", found.display());
    Ok(found.clone())
}

/// The plan of a checkpoint.
///
/// # Errors
/// When an earlier version of uner wrote the checkpoint, or the plan is damaged.
pub(crate) fn plan(checkpoint: &Path) -> Result<Plan> {
    ensure!(
        checkpoint.join(PLAN).exists(),
        "checkpoint `{}` has no `{PLAN}`: an earlier version of uner wrote it; resume with that \
         version, or start a new run with `model.weights` set to this folder",
        checkpoint.display()
    );
    Ok(Plan::read(checkpoint)?)
}

/// Writes the files that describe the run. Returns those that go into every checkpoint.
pub(crate) fn describe(
    (sources, plan): (&Sources, &Plan),
    Assembled { tokenizer, types, .. }: &Assembled,
) -> Result<Vec<PathBuf>> {
    let folder = &sources.recipe.run.dir;
    let plan = plan.recorded()?;
    tokenizer.save(folder)?;
    write_toml(&folder.join(TEMPLATE), &sources.template)?;
    write_toml(&folder.join(INFER), &plan.recipe.infer)?;
    write_toml(&folder.join(RECIPE), &plan.recipe)?;
    write_toml(&folder.join(PLAN), &plan)?;
    // A type with a line break would be read back as two.
    let types = types.iter().map(|(name, _)| name).filter(|name| !name.contains(['\n', '\r']));
    let types: String = types.flat_map(|name| [name, "\n"]).collect();
    write(&folder.join(TYPES), &types)?;
    let names = TOKENIZER_FILES.into_iter().chain([TEMPLATE, INFER, TYPES, PLAN]);
    Ok(names.map(|name| folder.join(name)).filter(|path| path.exists()).collect())
}

fn write_toml(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    write(path, &toml::to_string(value)?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    atomic::write::<anyhow::Error>(path, |out| Ok(out.write_all(text.as_bytes())?))
}

/// The tokenizer a checkpoint was trained with.
pub(crate) fn tokenizer(checkpoint: &Path) -> Result<Tokenizer> {
    Ok(Tokenizer::from_file(&tokenizer_in(checkpoint))?)
}

/// The datasets and splits that a model was trained on, from its recipe; empty without one of uner.
pub fn recorded_training(model: &Path) -> Vec<(String, String)> {
    let recipe = recorded_recipe(model);
    let members =
        recipe.get("data").and_then(|data| data.get("train")).and_then(toml::Value::as_array);
    let of = |member: &toml::Value, key: &str| Some(member.get(key)?.as_str()?.to_owned());
    let member = |member: &toml::Value| Some((of(member, "dataset")?, of(member, "split")?));
    members.into_iter().flatten().filter_map(member).collect()
}

/// The data folder of a model's run (`data.root`).
pub fn recorded_root(model: &Path) -> Option<PathBuf> {
    Some(recorded_recipe(model).get("data")?.get("root")?.as_str()?.into())
}

/// The recipe next to a model or in the folder of its run; empty if it cannot be read.
fn recorded_recipe(model: &Path) -> toml::Table {
    let folders = [Some(model), model.parent()].into_iter().flatten();
    let text = folders
        .map(|folder| folder.join(RECIPE))
        .find_map(|path| regular::read_to_string(&path).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}
