//! Joins the shards of a run.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::DistillError;
use crate::folder::{ANSWERS, AnswerReader, AtomicFile, Description, Passages, RUN};
use crate::output::{OutputConfig, build};
use crate::report::DistillReport;

/// Joins the shards in `folders` into the new folder `into`, and builds the training data there.
/// The files equal those of a run without shards. Journals stay in the folders of the shards.
///
/// `allow_unanswered` accepts passages without an answer, such as those that a teacher always
/// refuses. They are left out, as in a run without shards.
///
/// # Errors
/// [`DistillError::Shards`] if the folders are not all shards of one run over these passages, or
/// if a passage has no answer. [`DistillError::OtherRun`] if `into` has another run.
pub fn merge(
    folders: &[PathBuf],
    passages: &Path,
    into: &Path,
    config: &OutputConfig,
    allow_unanswered: bool,
) -> Result<DistillReport, DistillError> {
    let (description, folders) = shards(folders)?;
    let found = Passages::fingerprint(passages)?;
    if found != description.passages {
        return Err(DistillError::Shards(format!(
            "`{}` has other passages (`{found:?}`) than the shards (`{:?}`)",
            passages.display(),
            description.passages
        )));
    }
    if into.join(RUN).exists() || into.join(ANSWERS).exists() {
        return Err(DistillError::Shards(format!(
            "`{}` has a run already; choose a new folder",
            into.display()
        )));
    }
    fs_err::create_dir_all(into)?;
    let mut answers = AtomicFile::create(&into.join(ANSWERS))?;
    join(&folders, passages, &mut answers, allow_unanswered)?;
    answers.sync()?;
    description.claim(into)?;
    answers.publish()?;
    build(into, passages, config)
}

/// Writes all answers in the order of the passages.
fn join(
    folders: &[PathBuf],
    passages: &Path,
    answers: &mut AtomicFile,
    allow_unanswered: bool,
) -> Result<(), DistillError> {
    let mut readers: Vec<AnswerReader> =
        folders.iter().map(|folder| AnswerReader::open(folder)).collect::<Result<_, _>>()?;
    let (mut joined, mut unanswered) = (0, 0);
    let mut first = None;
    for (position, passage) in Passages::open(passages)?.enumerate() {
        let id = passage?.id;
        let owner = position % readers.len();
        if let Some(line) = readers[owner].line_of(&id)? {
            answers.write_all(line)?;
            joined += 1;
        } else {
            unanswered += 1;
            first.get_or_insert((id, owner));
        }
    }
    let available: u64 = readers.iter().map(|reader| reader.index().len()).sum();
    if available != joined {
        let more = available - joined;
        return Err(DistillError::Shards(format!(
            "`{more}` answers are about passages that do not belong to their shard"
        )));
    }
    match first {
        Some((id, owner)) if !allow_unanswered => Err(DistillError::Shards(format!(
            "`{unanswered}` passages have no answer, the first is `{id}` in `{}`; run the shard again, or allow unanswered passages",
            folders[owner].display()
        ))),
        _ => Ok(()),
    }
}

/// Checks that the folders are all shards of one run. Returns its description, and the folders in
/// the order of the shards.
fn shards(folders: &[PathBuf]) -> Result<(Description, Vec<PathBuf>), DistillError> {
    let wrong = |message: String| Err(DistillError::Shards(message));
    let mut found = Vec::new();
    for folder in folders {
        let mut description = Description::read(folder)?;
        let Some(shard) = description.shard.take() else {
            return wrong(format!("`{}` is a whole run", folder.display()));
        };
        found.push((shard, description, folder.clone()));
    }
    found.sort_by_key(|(shard, ..)| *shard);
    let Some((first, description, folder)) = found.first().cloned() else {
        return wrong("no folders are given".to_owned());
    };
    for (shard, other, path) in &found {
        if let Some((key, value, expected)) = other.difference(&description) {
            return wrong(format!(
                "`{}` has `{key}` `{value}`, but `{}` has `{expected}`",
                path.display(),
                folder.display()
            ));
        }
        if shard.count() != first.count() {
            return wrong(format!(
                "`{}` is `{shard}`, but `{}` is `{first}`",
                path.display(),
                folder.display()
            ));
        }
    }
    for index in 0..first.count() {
        let number = found.iter().filter(|(shard, ..)| shard.index() == index).count();
        if number != 1 {
            let problem = if number == 0 { "is missing" } else { "is given twice" };
            return wrong(format!("shard `{index}/{}` {problem}", first.count()));
        }
    }
    Ok((description, found.into_iter().map(|(.., folder)| folder).collect()))
}
