//! Documents and chats that a model answers together, each when it is ready.

mod chat;
mod document;
mod spans;
mod watch;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uner_data::predictions::Prediction;

use crate::engine::{Answer, Prompt, Stop};
use crate::error::InferError;
use crate::generate::NotFinite;
use crate::predict::{Predictor, PromptQueries};

use chat::OpenChat;
pub use chat::{Chat, ChatOptions, Completion};
use document::OpenDocument;
pub use document::{Problem, Request};
use watch::CancelledDecoder;

/// A document to search or a chat to continue.
pub struct Job {
    /// Its content.
    pub input: JobInput,
    /// Set by whoever no longer wants the answer: the job then ends at the next token.
    pub cancelled: Option<Arc<AtomicBool>>,
}

/// The content of a job.
pub enum JobInput {
    /// The entities of a document.
    Document(Request),
    /// The next turn of a chat. The function gets the text piece by piece; it is called on threads
    /// that compute, and must not block.
    Chat(Chat, Option<OnText>),
}

/// Gets the next piece of a text.
pub type OnText = Box<dyn FnMut(&str) + Send>;

/// The answer to a job.
#[derive(Debug)]
pub enum Outcome {
    /// The entities of a document.
    Document(Prediction, Option<Problem>),
    /// The next turn of a chat.
    Chat(Result<Completion, InferError>),
}

/// The jobs between the caller and the engine.
struct Queue {
    /// Documents without an outcome, by the number of their job.
    documents: BTreeMap<usize, OpenDocument>,
    /// Those with windows that have not become prompts, the next one first.
    with_windows: VecDeque<usize>,
    /// Most of these at a time.
    most_open: usize,
    /// The prompts of the engine, by the number of their passage.
    passages: HashMap<usize, Passage>,
    num_jobs: usize,
    num_passages: usize,
    /// Whether the last passage was that of a new job.
    was_new: bool,
}

/// The prompts that the engine continues together.
enum Passage {
    /// Those of a window of a document.
    Window { job: usize, window: usize, asked: Vec<PromptQueries> },
    /// That of a chat.
    Chat { job: usize, chat: OpenChat },
}

impl Job {
    /// A job that nobody cancels.
    pub fn new(input: JobInput) -> Self {
        Self { input, cancelled: None }
    }
}

impl Predictor<'_> {
    /// Answers jobs, and reports each by its position, in any order. Takes a job when there is room
    /// for it; while jobs run, the iterator is polled even after it has ended. Windows of at most
    /// `most_open` documents are taken in turn with new jobs, so a long document does not hold up
    /// others.
    ///
    /// # Errors
    /// [`InferError::Stopped`] when `finished` breaks; when logits are not finite.
    pub fn run_jobs(
        &self,
        jobs: impl IntoIterator<Item = Job>,
        most_open: usize,
        mut finished: impl FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        let mut jobs = jobs.into_iter();
        if let Some(reader) = &self.spans {
            return self.run_span_jobs(reader, &mut jobs, &mut finished);
        }
        let queue = RefCell::new(Queue::new(most_open));
        let passages = std::iter::from_fn(|| self.next_passage(&mut queue.borrow_mut(), &mut jobs));
        let outcome = self.run_engine(passages, |passage, answers| {
            match queue.borrow_mut().add(self, passage, &answers) {
                Some((job, outcome)) => finished(job, outcome),
                None => ControlFlow::Continue(()),
            }
        })?;
        outcome.map_err(|stop| match stop {
            Stop::Cancelled => InferError::Stopped,
            Stop::NotFinite(passage, prompt) => queue.into_inner().not_finite(passage, prompt),
        })
    }

    /// The prompts of the next window or chat, if there is one.
    fn next_passage(
        &self,
        queue: &mut Queue,
        jobs: &mut impl Iterator<Item = Job>,
    ) -> Option<Vec<Prompt<'_>>> {
        let waits = queue.with_windows.len();
        let takes_new = waits == 0 || (waits < queue.most_open && !queue.was_new);
        let new = if takes_new { jobs.next() } else { None };
        queue.was_new = new.is_some();
        let (passage, prompts) = match new {
            Some(Job { input: JobInput::Chat(chat, on_text), cancelled }) => {
                let (chat, prompt) = self.open_chat(chat, on_text);
                let prompts = prompt.map(|prompt| CancelledDecoder::watch(prompt, cancelled));
                (Passage::Chat { job: queue.num_jobs, chat }, prompts.into_iter().collect())
            }
            Some(Job { input: JobInput::Document(request), cancelled }) => {
                let document = self.open_document(request, cancelled);
                queue.documents.insert(queue.num_jobs, document);
                queue.with_windows.push_front(queue.num_jobs);
                self.next_window(queue)?
            }
            None => self.next_window(queue)?,
        };
        queue.num_jobs += usize::from(queue.was_new);
        queue.passages.insert(queue.num_passages, passage);
        queue.num_passages += 1;
        Some(prompts)
    }

    /// The next window of the document whose turn it is. A document without a window has one
    /// passage without prompts, so that its outcome is reported.
    fn next_window(&self, queue: &mut Queue) -> Option<(Passage, Vec<Prompt<'_>>)> {
        let job = queue.with_windows.pop_front()?;
        let document = queue.documents.get_mut(&job).expect("a document with windows is open");
        let cancelled = document.cancelled.clone();
        if cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
            document.cut_short();
        }
        let (window, asked, prompts) = document.next_window(self);
        if document.has_windows() {
            queue.with_windows.push_back(job);
        }
        let prompts = prompts.into_iter();
        let prompts =
            prompts.map(|prompt| CancelledDecoder::watch(prompt, cancelled.clone())).collect();
        Some((Passage::Window { job, window, asked }, prompts))
    }
}

impl Queue {
    fn new(most_open: usize) -> Self {
        Self {
            documents: BTreeMap::new(),
            with_windows: VecDeque::new(),
            most_open,
            passages: HashMap::new(),
            num_jobs: 0,
            num_passages: 0,
            was_new: false,
        }
    }

    /// Adds the answers to the prompts of a passage. Returns the job that they complete.
    fn add(
        &mut self,
        predictor: &Predictor,
        passage: usize,
        answers: &[Answer],
    ) -> Option<(usize, Outcome)> {
        match self.passages.remove(&passage).expect("a passage is answered once") {
            Passage::Chat { job, chat } => {
                Some((job, Outcome::Chat(predictor.completion(chat, answers.first()))))
            }
            Passage::Window { job, window, asked } => {
                // A cancelled document may have ended with an earlier window.
                let document = self.documents.get_mut(&job)?;
                document.add(predictor, window, &asked, answers);
                if !document.is_complete() {
                    return None;
                }
                let (prediction, problem) = self.documents.remove(&job)?.close();
                Some((job, Outcome::Document(prediction, problem)))
            }
        }
    }

    /// The error for a prompt whose logits are not finite.
    fn not_finite(&self, passage: usize, prompt: usize) -> InferError {
        match &self.passages[&passage] {
            Passage::Chat { job, .. } => InferError::Text(NotFinite { row: *job }.to_string()),
            Passage::Window { job, asked, .. } => {
                let Request { text, types, .. } = &self.documents[job].request;
                InferError::not_finite(text, &types[asked[prompt].queries[0]], passage)
            }
        }
    }
}
