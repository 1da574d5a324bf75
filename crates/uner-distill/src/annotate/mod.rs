//! The run: every passage gets an answer of the teacher.

mod feed;
mod progress;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use uner_endpoint::{Answer, End, Estimate, Failure};

use crate::error::DistillError;
use crate::folder::{AnswerRecord, AnswerWriter, Description, Index, Passages, Shard};
use crate::teacher::{PromptVersion, Teacher, TeacherEvent};

pub use progress::{FailedPassage, Progress, Summary};

use feed::Feed;

/// Requests that are forecast together.
const FORECAST: usize = 256;

/// A run in a folder. Nothing is sent before [`Annotation::run`].
#[derive(Debug)]
pub struct Annotation {
    folder: PathBuf,
    passages: PathBuf,
    description: Description,
    /// The number of passages of this run, or of its shard.
    total: u64,
    /// The number of them that had an answer when the run was opened.
    answered: u64,
}

impl Annotation {
    /// Opens the run in a folder, which is created if it is missing. Reads all passages.
    ///
    /// # Errors
    /// [`DistillError::OtherRun`] if the folder has a run with another teacher, other settings, or
    /// other passages. If passages or answers are unreadable, or another process writes answers.
    pub fn open(
        folder: &Path,
        passages: &Path,
        prompt: PromptVersion,
        shard: Option<Shard>,
        teacher: &dyn Teacher,
    ) -> Result<Self, DistillError> {
        let description = Description {
            model: teacher.model().to_owned(),
            settings: teacher.settings(),
            prompt,
            passages: Passages::fingerprint(passages)?,
            shard,
        };
        fs_err::create_dir_all(folder)?;
        description.claim(folder)?;
        let (_, answers) = AnswerWriter::open(folder)?;
        let (mut total, mut answered) = (0, 0);
        for (position, passage) in (0..).zip(Passages::open(passages)?) {
            let passage = passage?;
            if shard.is_none_or(|shard| shard.contains(position)) {
                total += 1;
                answered += u64::from(answers.contains(&passage.id));
            }
        }
        let (folder, passages) = (folder.to_owned(), passages.to_owned());
        Ok(Self { folder, passages, description, total, answered })
    }

    /// The number of passages.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The number of passages that had an answer when the run was opened.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Forecasts the requests that are left. Nothing is sent.
    ///
    /// # Errors
    /// If passages or answers cannot be read.
    pub fn estimate(&self, teacher: &dyn Teacher) -> Result<Estimate, DistillError> {
        let (_, answers) = AnswerWriter::open(&self.folder)?;
        let (pending, error) = (RefCell::default(), RefCell::default());
        let mut feed = self.feed(&answers, &pending, &error)?;
        let mut sum = Estimate::default();
        loop {
            let requests: Vec<_> = feed.by_ref().take(FORECAST).collect();
            pending.borrow_mut().clear();
            if requests.is_empty() {
                break;
            }
            let estimate = teacher.estimate(&requests);
            sum.requests += estimate.requests;
            sum.cached += estimate.cached;
            sum.tokens.input += estimate.tokens.input;
            sum.tokens.output += estimate.tokens.output;
            sum.money += estimate.money;
        }
        drop(feed);
        match error.into_inner() {
            Some(error) => Err(error),
            None => Ok(sum),
        }
    }

    /// Asks the teacher about all passages without an answer, and writes each answer as it comes.
    /// Memory does not grow with the number of passages, but for 16 bytes for each answer of an
    /// earlier run. Passages whose requests fail are tried again by the next run.
    ///
    /// `on_progress` is called several times a second; if it returns [`ControlFlow::Break`], the
    /// run is interrupted and can be resumed.
    ///
    /// # Errors
    /// [`DistillError::Teacher`] if the teacher does not work at all. If an answer cannot be
    /// written; answers until then are on the disk.
    pub fn run(
        &mut self,
        teacher: &mut dyn Teacher,
        on_progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Summary, DistillError> {
        let (writer, answers) = AnswerWriter::open(&self.folder)?;
        let (pending, error) = (RefCell::default(), RefCell::default());
        let mut feed = self.feed(&answers, &pending, &error)?;
        let mut recorder = Recorder {
            writer,
            prompt: self.description.prompt,
            model: teacher.model().to_owned(),
            pending: &pending,
            start: Instant::now(),
            summary: Summary::new(self.total, self.answered),
        };
        let end = teacher.answer_all(&mut feed, &mut |event| match event {
            TeacherEvent::Answered { index, outcome } => match recorder.record(index, outcome) {
                Ok(()) => ControlFlow::Continue(()),
                Err(problem) => {
                    error.borrow_mut().get_or_insert(problem);
                    ControlFlow::Break(())
                }
            },
            TeacherEvent::Progress { money, in_flight } => {
                recorder.summary.money = money;
                on_progress(&recorder.progress(in_flight))
            }
        });
        drop(feed);
        let summary = recorder.finish();
        // An error of ours interrupted the teacher, so it comes first.
        if let Some(error) = error.into_inner() {
            return Err(error);
        }
        let mut summary = summary?;
        summary.end = end.map_err(DistillError::Teacher)?;
        self.answered += summary.answered;
        Ok(summary)
    }

    fn feed<'a>(
        &self,
        answers: &'a Index,
        pending: &'a RefCell<HashMap<usize, String>>,
        error: &'a RefCell<Option<DistillError>>,
    ) -> Result<Feed<'a>, DistillError> {
        let passages = Passages::open(&self.passages)?;
        let Description { prompt, shard, .. } = self.description;
        Ok(Feed::new(passages, shard, prompt, answers, (pending, error)))
    }
}

/// Writes answers and counts them.
struct Recorder<'a> {
    writer: AnswerWriter,
    prompt: PromptVersion,
    model: String,
    pending: &'a RefCell<HashMap<usize, String>>,
    start: Instant,
    summary: Summary,
}

impl Recorder<'_> {
    fn record(
        &mut self,
        index: usize,
        outcome: Result<Answer, Failure>,
    ) -> Result<(), DistillError> {
        let passage = self.pending.borrow_mut().remove(&index);
        let passage = passage.expect("a teacher reports each request once");
        match outcome {
            Err(failure) => self.summary.fail(passage, &failure),
            Ok(answer) => {
                self.summary.count(&answer);
                self.writer.append(&AnswerRecord {
                    passage,
                    model: answer.model.unwrap_or_else(|| self.model.clone()),
                    prompt: self.prompt,
                    time: answer.time,
                    answer: answer.text,
                    finish_reason: answer.finish_reason,
                    input_tokens: answer.tokens.map(|tokens| tokens.input),
                    output_tokens: answer.tokens.map(|tokens| tokens.output),
                })?;
            }
        }
        Ok(())
    }

    fn progress(&self, in_flight: usize) -> Progress {
        Progress::new(&self.summary, in_flight, self.start.elapsed())
    }

    fn finish(mut self) -> Result<Summary, DistillError> {
        self.writer.sync()?;
        self.summary.elapsed = self.start.elapsed();
        self.summary.end = End::Complete;
        Ok(self.summary)
    }
}
