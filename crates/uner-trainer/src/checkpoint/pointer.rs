//! `latest` and `best`: small files that name a checkpoint of the same folder.

use std::io::Read;
use std::path::{Path, PathBuf};

use uner_model::atomic;
use uner_model::folder::is_checkpoint_name;
use uner_model::weights::open_regular;

use crate::error::TrainError;

const LATEST: &str = "latest";
const BEST: &str = "best";

/// The newest checkpoint of a run, if it has one.
///
/// # Errors
/// When `latest` cannot be read, is damaged, or names a folder that does not exist.
pub fn latest(run: &Path) -> Result<Option<PathBuf>, TrainError> {
    read(run, LATEST)
}

/// The best checkpoint of a run, if it has one.
///
/// # Errors
/// When `best` cannot be read, is damaged, or names a folder that does not exist.
pub fn best(run: &Path) -> Result<Option<PathBuf>, TrainError> {
    read(run, BEST)
}

/// The checkpoints of a run's folder, intact or not, from the first step to the last.
///
/// # Errors
/// When the folder cannot be listed.
pub fn all(run: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let mut found: Vec<PathBuf> = Vec::new();
    if run.is_dir() {
        for entry in fs_err::read_dir(run)? {
            let path = entry?.path();
            if path.is_dir()
                && path.file_name().is_some_and(|name| is_checkpoint_name(&name.to_string_lossy()))
            {
                found.push(path);
            }
        }
    }
    found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(found)
}

/// Points `latest` to the checkpoint after `step`.
pub(super) fn point_latest(run: &Path, step: u64) -> Result<(), TrainError> {
    write(run, LATEST, &folder_name(step))
}

/// Points `best` to the checkpoint after `step`; removes `best` if there is none, or its folder
/// does not exist. This corrects the file of a run that resumes from an earlier checkpoint, or that
/// died before it pointed to the checkpoint it had written.
///
/// # Errors
/// When the file cannot be written or removed.
pub fn point_best(run: &Path, step: Option<u64>) -> Result<(), TrainError> {
    let name = step.map(folder_name).filter(|name| run.join(name).is_dir());
    match name {
        Some(name) => write(run, BEST, &name),
        None if run.join(BEST).exists() => Ok(fs_err::remove_file(run.join(BEST))?),
        None => Ok(()),
    }
}

/// `step-000500`
pub(super) fn folder_name(step: u64) -> String {
    format!("step-{step:06}")
}

/// The folder to which an old checkpoint is moved while a new one of the same step replaces it.
pub(super) fn aside(checkpoint: &Path) -> PathBuf {
    checkpoint.with_extension("old")
}

fn read(run: &Path, pointer: &str) -> Result<Option<PathBuf>, TrainError> {
    let path = run.join(pointer);
    if !path.exists() {
        return Ok(None);
    }
    // A name is short: this limits the reading of any other file.
    let mut bytes = Vec::new();
    open_regular(&path)?.take(100).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let name = text.trim();
    let refuse = |path: PathBuf, problem: String| Err(TrainError::Checkpoint { path, problem });
    if !is_checkpoint_name(name) {
        return refuse(
            path,
            format!(
                "the file is damaged: `{name}` is not a checkpoint; name one with `--resume PATH`"
            ),
        );
    }
    let checkpoint = run.join(name);
    match [aside(&checkpoint), checkpoint.clone()].into_iter().rfind(|folder| folder.is_dir()) {
        Some(folder) => Ok(Some(folder)),
        None => refuse(
            checkpoint,
            format!(
                "`{pointer}` names it, but it does not exist; name another with `--resume PATH`"
            ),
        ),
    }
}

fn write(run: &Path, pointer: &str, name: &str) -> Result<(), TrainError> {
    atomic::write::<std::io::Error>(&run.join(pointer), |out| out.write_all(name.as_bytes()))?;
    Ok(fs_err::File::open(run)?.sync_all()?)
}
