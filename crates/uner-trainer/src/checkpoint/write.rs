//! Writing a checkpoint.

use std::path::{Path, PathBuf};

use uner_model::folder::is_checkpoint_name;

use super::pointer::{all, aside, folder_name, point_best, point_latest};
use super::snapshot::Snapshot;
use super::state::run_of;
use crate::error::TrainError;

/// Writes checkpoint `step-NNNNNN` into the folder `run`, which must exist, and points `latest` to
/// it, and `best` if it is the best. After a failure, earlier checkpoints and the files that name
/// them are unchanged.
///
/// # Errors
/// When a file cannot be written, such as on a full disk; nothing of the checkpoint is left then.
pub fn save(run: &Path, snapshot: Snapshot) -> Result<PathBuf, TrainError> {
    let step = snapshot.state.step;
    let best = snapshot.state.best_tracker.best.map(|best| best.step);
    let finished = run.join(folder_name(step));
    let unfinished = finished.with_extension("tmp");
    remove_if_there(&unfinished)?;
    fs_err::create_dir(&unfinished)?;
    let written = snapshot.write(&unfinished).and_then(|()| replace(&unfinished, &finished));
    if let Err(error) = written {
        // Only the first error is reported. The next attempt removes files that are left.
        let _ = fs_err::remove_dir_all(&unfinished);
        return Err(error);
    }
    fs_err::File::open(run)?.sync_all()?;
    point_latest(run, step)?;
    if best == Some(step) {
        point_best(run, best)?;
    }
    Ok(finished)
}

/// Moves a complete checkpoint to its final name. An old one of the same step, which `latest` may
/// name, exists under one name or the other until it is replaced.
fn replace(unfinished: &Path, finished: &Path) -> Result<(), TrainError> {
    let old = aside(finished);
    if finished.exists() {
        remove_if_there(&old)?;
        fs_err::rename(finished, &old)?;
    }
    fs_err::rename(unfinished, finished)?;
    remove_if_there(&old)
}

/// Removes all but the `keep` newest of a run's checkpoints up to `newest`, except the one after
/// step `best`. Keeps later ones, which exist if the run resumed from a checkpoint before its last,
/// and those of other runs.
///
/// # Errors
/// When a folder cannot be listed or removed.
pub fn prune(newest: &Path, keep: usize, best: Option<u64>) -> Result<(), TrainError> {
    let best = best.map(folder_name);
    let run = run_of(newest);
    let mut checkpoints = all(newest.parent().unwrap_or(newest))?;
    checkpoints.retain(|path| path.as_path() <= newest && run_of(path) == run);
    for old in checkpoints.iter().rev().skip(keep) {
        if best.as_ref().is_none_or(|best| !old.ends_with(best)) {
            // A half-removed checkpoint must not have the name of a complete one.
            let unfinished = old.with_extension("tmp");
            fs_err::rename(old, &unfinished)?;
            fs_err::remove_dir_all(unfinished)?;
        }
    }
    Ok(())
}

/// Removes the unfinished folders of a run that died while it was writing.
///
/// # Errors
/// When a folder cannot be listed or removed.
pub fn sweep(run: &Path) -> Result<(), TrainError> {
    for entry in fs_err::read_dir(run)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let has_extension =
            |name: &str| path.extension().is_some_and(|extension| extension == name);
        // A folder that was moved aside is still the checkpoint until another takes its place.
        let replaced = has_extension("old") && path.with_extension("").is_dir();
        if path.is_dir() && is_checkpoint_name(&stem) && (has_extension("tmp") || replaced) {
            fs_err::remove_dir_all(path)?;
        }
    }
    Ok(())
}

fn remove_if_there(folder: &Path) -> Result<(), TrainError> {
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    Ok(())
}
