//! `guards/step-000123.jsonl` of a run: the conversations of a step that triggered a guard.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use uner_model::atomic;
use uner_prompt::Tokenizer;
use uner_trainer::{GuardReport, Run, TrainError};

/// A line of the file: one conversation. The highest losses come first.
#[derive(Serialize)]
struct Line {
    step: u64,
    problem: String,
    /// Index into the training data.
    conversation: usize,
    /// Mean loss of its trained tokens; `null` if it is not finite.
    loss: Option<f64>,
    tokens: usize,
    trained_tokens: usize,
    /// The text of this epoch's tokens, without special tokens.
    text: String,
}

/// The path of the file with the conversations of a guarded step, in the run's folder.
pub fn file(step: u64) -> String {
    format!("guards/step-{step:06}.jsonl")
}

/// Writes the file of a step and returns its path.
pub(crate) fn write(
    run: &Run,
    tokenizer: &Tokenizer,
    report: &GuardReport,
) -> Result<PathBuf, TrainError> {
    let path = run.folder.join(file(report.step));
    let write = || -> Result<()> {
        fs_err::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let epoch = (report.step - 1) / run.config.steps_per_epoch(run.store.len());
        atomic::write::<anyhow::Error>(&path, |out| {
            for suspect in &report.conversations {
                let (tokens, _) = run.store.in_epoch(suspect.index, run.seed, epoch);
                let line = Line {
                    step: report.step,
                    problem: report.problem.clone(),
                    conversation: suspect.index,
                    loss: suspect.loss,
                    tokens: tokens.ids.len(),
                    trained_tokens: tokens.num_trained(),
                    text: tokenizer.decode(&tokens.ids)?,
                };
                serde_json::to_writer(&mut *out, &line)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        })
    };
    write().map_err(|error| std::io::Error::other(format!("`{}`: {error:#}", path.display())))?;
    Ok(path)
}
