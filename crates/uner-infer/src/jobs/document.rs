//! A document whose windows are being answered.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use uner_data::align::labelled;
use uner_data::predictions::{PredictedEntity, Prediction};
use uner_data::windows::{merge, windows};

use crate::engine::{Answer, Prompt};
use crate::predict::{Predictor, PromptQueries, Query};

/// Characters that the windows of a long text share: longer than nearly all mentions.
const OVERLAP: usize = 200;

/// Why a document has no entities, or may lack some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It was not answered, or not all of it.
    Unanswered(String),
    /// Every prompt was answered, but an answer has a flaw.
    Flawed(String),
}

/// A document to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id, which the prediction gets.
    pub id: String,
    /// Its text, of any length.
    pub text: String,
    /// The entity types, in natural language. A repeated one is asked once.
    pub types: Vec<String>,
}

/// A document whose windows are being answered.
pub(super) struct OpenDocument {
    pub(super) request: Request,
    pub(super) cancelled: Option<Arc<AtomicBool>>,
    windows: Vec<Range<usize>>,
    /// The entities of each window that has become prompts.
    found: Vec<Vec<PredictedEntity>>,
    /// Windows without an answer.
    missing: usize,
    problem: Option<Problem>,
}

impl Problem {
    /// The message.
    pub fn into_message(self) -> String {
        match self {
            Self::Unanswered(message) | Self::Flawed(message) => message,
        }
    }
}

impl Predictor<'_> {
    /// Cuts a document into windows that fit the model with each of its types.
    pub(super) fn open_document(
        &self,
        mut request: Request,
        cancelled: Option<Arc<AtomicBool>>,
    ) -> OpenDocument {
        let mut seen = HashSet::new();
        request.types.retain(|name| seen.insert(name.clone()));
        let Request { text, types, .. } = &request;
        let is_empty = text.trim().is_empty() || types.is_empty();
        let mut unreadable = None;
        let fits = |window: &str| {
            let queries: Vec<Query> = types.iter().map(|name| query(window, name)).collect();
            self.fits(&queries).unwrap_or_else(|error| {
                unreadable.get_or_insert(error);
                false
            })
        };
        let found = if is_empty { Ok(Vec::new()) } else { windows(text, OVERLAP, fits) };
        let (windows, problem) = match (found, unreadable) {
            (_, Some(error)) => (Vec::new(), Some(error.to_string())),
            (Err(problem), None) => (Vec::new(), Some(problem.to_string())),
            (Ok(windows), None) => (windows, None),
        };
        let problem = problem.map(Problem::Unanswered);
        let missing = windows.len();
        OpenDocument { request, cancelled, windows, found: Vec::new(), missing, problem }
    }
}

impl OpenDocument {
    /// Whether windows have not become prompts.
    pub(super) fn has_windows(&self) -> bool {
        self.found.len() < self.windows.len()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Leaves out the windows that have not become prompts.
    pub(super) fn cut_short(&mut self) {
        self.missing -= self.windows.len() - self.found.len();
        self.windows.truncate(self.found.len());
        self.problem = Some(Problem::Unanswered("it was cancelled".to_owned()));
    }

    /// The prompts of the next window, with its number; none if no window is left, or if it cannot
    /// be asked about.
    pub(super) fn next_window<'p>(
        &mut self,
        predictor: &'p Predictor,
    ) -> (usize, Vec<PromptQueries>, Vec<Prompt<'p>>) {
        let window = self.found.len();
        let Some(bytes) = self.windows.get(window) else { return (window, Vec::new(), Vec::new()) };
        self.found.push(Vec::new());
        let Request { text, types, .. } = &self.request;
        let text = &text[bytes.clone()];
        let queries: Vec<Query> = types.iter().map(|name| query(text, name)).collect();
        let indices: Vec<usize> = (0..queries.len()).collect();
        match predictor.prompts(&indices, &queries) {
            Ok((asked, prompts)) => (window, asked, prompts),
            Err(error) => {
                self.problem = Some(Problem::Unanswered(error.to_string()));
                (window, Vec::new(), Vec::new())
            }
        }
    }

    /// Adds the answers to the prompts of a window.
    pub(super) fn add(
        &mut self,
        predictor: &Predictor,
        window: usize,
        asked: &[PromptQueries],
        answers: &[Answer],
    ) {
        let Some(bytes) = self.windows.get(window) else { return };
        self.missing -= 1;
        let Request { text, types, .. } = &self.request;
        let text = &text[bytes.clone()];
        let queries: Vec<Query> = types.iter().map(|name| query(text, name)).collect();
        for (asked, answer) in asked.iter().zip(answers) {
            let responses = match predictor.responses(asked, &queries, answer) {
                Ok(responses) => responses,
                Err(error) => {
                    self.problem = Some(Problem::Unanswered(error.to_string()));
                    continue;
                }
            };
            for found in responses.iter().flat_map(|(_, response)| &response.entities) {
                let (mention, name) = (&found.entity.text, &found.entity.entity_type);
                let at = |bytes| PredictedEntity::at(text, bytes, name, found.probability);
                let entities = labelled(text, mention).into_iter().filter_map(at);
                let before = self.found[window].len();
                self.found[window].extend(entities);
                if self.found[window].len() == before {
                    let problem = format!("the model named `{mention}`, which is not in the text");
                    self.problem.get_or_insert(Problem::Flawed(problem));
                }
            }
            if !answer.ended {
                let problem = "an answer was longer than allowed and is cut off; allow more \
                               tokens (`max_new_tokens`)";
                self.problem.get_or_insert_with(|| Problem::Flawed(problem.to_owned()));
            }
        }
    }

    /// The texts of the windows.
    pub(super) fn window_texts(&self) -> impl Iterator<Item = &str> {
        self.windows.iter().map(|bytes| &self.request.text[bytes.clone()])
    }

    /// Sets the entities of all windows, or why one has none.
    pub(super) fn set_found(
        &mut self,
        found: impl Iterator<Item = Result<Vec<PredictedEntity>, String>>,
    ) {
        let found = found.map(|found| {
            found.unwrap_or_else(|problem| {
                self.problem = Some(Problem::Unanswered(problem));
                Vec::new()
            })
        });
        self.found = found.collect();
        self.missing = 0;
    }

    /// The entities of all windows.
    pub(super) fn close(self) -> (Prediction, Option<Problem>) {
        let Self { request: Request { id, text, .. }, windows, found, problem, .. } = self;
        let entities = merge(&text, &windows, found);
        (Prediction::new(id, text, entities), problem)
    }
}

fn query<'q>(text: &'q str, entity_type: &'q str) -> Query<'q> {
    Query { text, entity_type, dataset: None }
}
