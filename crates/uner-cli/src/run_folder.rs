//! The folder of a run.
//!
//! ```text
//! checkpoints/<run>/recipe.toml        what was done, `--set` included
//!                   metrics.jsonl      a line per step, and events.out.tfevents… with the same for TensorBoard
//!                   guards/            the conversations of steps that a guard has found
//!                   tokenizer.json     (or tokenizer.model) and what else goes into every checkpoint:
//!                   template.toml      the wording
//!                   infer.toml         how answers are generated
//!                   step-000500/       checkpoints, and latest
//!                   report.md          scores, and report.json
//! ```

use std::path::{Path, PathBuf};

use anyhow::Result;
use uner_prompt::Tokenizer;
use uner_trainer::checkpoint;

use crate::atomic;
use crate::model_source::tokenizer_in;
use crate::plan::Plan;
use crate::recipe::RecipeError;

/// The wording, in a run's folder and in every checkpoint.
pub(crate) const TEMPLATE: &str = "template.toml";
/// How answers are generated, in a run's folder and in every checkpoint.
pub(crate) const INFER: &str = "infer.toml";

const RECIPE: &str = "recipe.toml";
/// What `Tokenizer::save` may write.
const TOKENIZER_FILES: [&str; 3] = ["tokenizer.json", "tokenizer.model", "tokenizer_config.json"];

/// Refuses to start a run where there is one. What was left by one that died before its first checkpoint is written over.
///
/// # Errors
/// [`RecipeError::RunExists`] when there is a checkpoint in it.
pub(crate) fn refuse_second_run(folder: &Path) -> Result<()> {
    if checkpoint::latest(folder)?.is_some() {
        return Err(RecipeError::RunExists(folder.to_owned()).into());
    }
    Ok(())
}

/// The checkpoint that `--resume` means: `latest`, or a path.
///
/// # Errors
/// [`RecipeError::NothingToResume`] when it is not there; when it is unfinished or what goes with its model is damaged.
pub(crate) fn to_resume(folder: &Path, which: &str) -> Result<PathBuf> {
    let (found, path) = match which {
        "latest" => (checkpoint::latest(folder)?, folder),
        path => (Some(PathBuf::from(path)).filter(|path| path.is_dir()), Path::new(path)),
    };
    let found = found.ok_or_else(|| RecipeError::NothingToResume(path.to_owned()))?;
    checkpoint::verify_companions(&found)?;
    Ok(found)
}

/// How a run was when it wrote this checkpoint; `None` where that cannot be read, which loading it will refuse.
pub(crate) fn state(folder: &Path) -> Option<checkpoint::State> {
    serde_json::from_slice(&fs_err::read(folder.join("state.json")).ok()?).ok()
}

/// Writes what describes the run, and returns the files that go into every checkpoint.
pub(crate) fn describe(plan: &Plan, tokenizer: &Tokenizer) -> Result<Vec<PathBuf>> {
    let folder = &plan.recipe.run.dir;
    tokenizer.save(folder)?;
    write_toml(&folder.join(TEMPLATE), &plan.template)?;
    write_toml(&folder.join(INFER), &plan.recipe.infer)?;
    write_toml(&folder.join(RECIPE), &plan.recipe)?;
    let names = TOKENIZER_FILES.into_iter().chain([TEMPLATE, INFER]);
    Ok(names.map(|name| folder.join(name)).filter(|path| path.exists()).collect())
}

fn write_toml(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = toml::to_string(value)?;
    atomic::write(path, |out| Ok(out.write_all(text.as_bytes())?))
}

/// The tokenizer a checkpoint was trained with.
pub(crate) fn tokenizer(checkpoint: &Path) -> Result<Tokenizer> {
    Ok(Tokenizer::from_file(&tokenizer_in(checkpoint))?)
}

/// Writes a report beside a run or model.
pub(crate) fn write_report(folder: &Path, report: &uner_eval::report::Report) -> Result<()> {
    fs_err::create_dir_all(folder)?;
    let json = serde_json::to_string_pretty(report)?;
    atomic::write(&folder.join("report.json"), |out| Ok(out.write_all(json.as_bytes())?))?;
    let markdown = report.markdown();
    atomic::write(&folder.join("report.md"), |out| Ok(out.write_all(markdown.as_bytes())?))
}
