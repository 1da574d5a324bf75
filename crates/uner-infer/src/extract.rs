//! Entities of documents of any length, one after the other.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::{ControlFlow, Range};

use uner_data::align::labelled;
use uner_data::predictions::{PredictedEntity, Prediction};
use uner_data::windows::{merge, windows};

use crate::engine::{Answer, Prompt, Stop};
use crate::error::InferError;
use crate::predict::{Predictor, PromptQueries, Query};

/// Characters that the windows of a long text share: longer than nearly all mentions.
const OVERLAP: usize = 200;

/// Why a document has no entities, or may lack some.
enum Problem {
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
struct Pending {
    request: Request,
    windows: Vec<Range<usize>>,
    found: Vec<Vec<PredictedEntity>>,
    /// Windows without an answer.
    missing: usize,
    problem: Option<Problem>,
}

/// The documents between input and output, in order.
#[derive(Default)]
struct Queue {
    /// Number of documents that have left.
    gone: usize,
    pending: VecDeque<Pending>,
    /// Passages that have not been answered: the document, its window, and the prompts.
    passages: BTreeMap<usize, (usize, usize, Vec<PromptQueries>)>,
    next_passage: usize,
}

impl Predictor<'_> {
    /// The entities of a text, sorted by position: every occurrence as a whole word of each mention
    /// that the model names.
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use uner_infer::Predictor;
    ///
    /// let folder = std::path::Path::new("checkpoints/quickstart/step-005000");
    /// let model = Predictor::load(folder, &Device::flex())?;
    /// for entity in model.predict("Tim Cook runs Apple.", &["person", "organization"])? {
    ///     println!("{} {:?} {:?}", entity.entity_type, entity.span, entity.probability);
    /// }
    /// # Ok::<(), uner_infer::InferError>(())
    /// ```
    ///
    /// # Errors
    /// When a type does not fit the model's window, or logits are not finite.
    pub fn predict(&self, text: &str, types: &[&str]) -> Result<Vec<PredictedEntity>, InferError> {
        let types = types.iter().map(ToString::to_string).collect();
        let request = Request { id: String::new(), text: text.to_owned(), types };
        let mut found = Ok(Vec::new());
        self.run([request], |prediction, problem| {
            found = match problem {
                Some(Problem::Unanswered(problem)) => Err(InferError::Text(problem)),
                Some(Problem::Flawed(problem)) => {
                    tracing::warn!("{problem}");
                    Ok(prediction.entities)
                }
                None => Ok(prediction.entities),
            };
            ControlFlow::Continue(())
        })?;
        found
    }

    /// Searches documents, and passes their predictions to `done` in order. Documents are only
    /// taken from the iterator when there is room for them. A text that is too long for the model
    /// is cut into overlapping windows at sentence ends, and what is found in them is merged. A
    /// document that cannot be answered gets a prediction with the problem.
    ///
    /// # Errors
    /// When `done` breaks, or logits are not finite.
    pub fn extract(
        &self,
        requests: impl IntoIterator<Item = Request>,
        mut done: impl FnMut(Prediction) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        self.run(requests, |prediction, problem| {
            let problem = problem.map(|problem| match problem {
                Problem::Unanswered(problem) | Problem::Flawed(problem) => problem,
            });
            done(Prediction { problem, ..prediction })
        })
    }

    /// [`Self::extract`], with the problem of each document beside its prediction.
    fn run(
        &self,
        requests: impl IntoIterator<Item = Request>,
        mut done: impl FnMut(Prediction, Option<Problem>) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        let queue = RefCell::new(Queue::default());
        // The engine asks again after the last one.
        let mut requests = requests.into_iter().fuse();
        let passages =
            std::iter::from_fn(|| self.next_passage(&mut queue.borrow_mut(), &mut requests));
        let outcome = self.run_engine(passages, |passage, answers| {
            let mut queue = queue.borrow_mut();
            queue.add(self, passage, &answers);
            queue.emit(&mut done)
        })?;
        match outcome {
            Ok(()) => match queue.into_inner().emit(&mut done) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(InferError::Stopped),
            },
            Err(Stop::Cancelled) => Err(InferError::Stopped),
            Err(Stop::NotFinite(passage, prompt)) => {
                let queue = queue.into_inner();
                let (document, _, asked) = &queue.passages[&passage];
                let Request { text, types, .. } = &queue.pending[document - queue.gone].request;
                let entity_type = &types[asked[prompt].queries[0]];
                Err(InferError::not_finite(text, entity_type, passage))
            }
        }
    }

    /// The prompts of the next window, if there is one.
    fn next_passage(
        &self,
        queue: &mut Queue,
        requests: &mut impl Iterator<Item = Request>,
    ) -> Option<Vec<Prompt<'_>>> {
        loop {
            let document = queue.gone + queue.pending.len();
            if let Some(last) = queue.pending.back_mut()
                && last.found.len() < last.windows.len()
            {
                let window = last.found.len();
                last.found.push(Vec::new());
                let Request { text, types, .. } = &last.request;
                let text = &text[last.windows[window].clone()];
                let queries: Vec<Query> = types.iter().map(|name| query(text, name)).collect();
                let indices: Vec<usize> = (0..queries.len()).collect();
                match self.prompts(&indices, &queries) {
                    Ok((asked, prompts)) => {
                        queue.passages.insert(queue.next_passage, (document - 1, window, asked));
                        queue.next_passage += 1;
                        return Some(prompts);
                    }
                    Err(error) => {
                        last.problem = Some(Problem::Unanswered(error.to_string()));
                        last.missing -= 1;
                    }
                }
                continue;
            }
            let pending = self.cut(requests.next()?);
            queue.pending.push_back(pending);
        }
    }

    /// Cuts a document into windows that fit the model with each of its types.
    fn cut(&self, mut request: Request) -> Pending {
        let mut seen = std::collections::HashSet::new();
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
        Pending { missing: windows.len(), found: Vec::new(), request, windows, problem }
    }
}

impl Queue {
    /// Adds the answers to the prompts of a passage.
    fn add(&mut self, predictor: &Predictor, passage: usize, answers: &[Answer]) {
        let (document, window, asked) =
            self.passages.remove(&passage).expect("a passage is answered once");
        let pending = &mut self.pending[document - self.gone];
        pending.missing -= 1;
        let Request { text, types, .. } = &pending.request;
        let text = &text[pending.windows[window].clone()];
        let queries: Vec<Query> = types.iter().map(|name| query(text, name)).collect();
        for (asked, answer) in asked.iter().zip(answers) {
            let responses = match predictor.responses(asked, &queries, answer) {
                Ok(responses) => responses,
                Err(error) => {
                    pending.problem = Some(Problem::Unanswered(error.to_string()));
                    continue;
                }
            };
            for found in responses.iter().flat_map(|(_, response)| &response.entities) {
                let (mention, name) = (&found.entity.text, &found.entity.entity_type);
                let at = |bytes| PredictedEntity::at(text, bytes, name, found.probability);
                let entities = labelled(text, mention).into_iter().filter_map(at);
                let before = pending.found[window].len();
                pending.found[window].extend(entities);
                if pending.found[window].len() == before {
                    let problem = format!("the model named `{mention}`, which is not in the text");
                    pending.problem.get_or_insert(Problem::Flawed(problem));
                }
            }
            if !answer.ended {
                let problem = "an answer was longer than allowed and is cut off; allow more \
                               tokens (`max_new_tokens`)";
                pending.problem.get_or_insert_with(|| Problem::Flawed(problem.to_owned()));
            }
        }
    }

    /// Passes on the first documents while they are complete.
    fn emit(
        &mut self,
        done: &mut dyn FnMut(Prediction, Option<Problem>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let is_complete = |pending: &Pending| {
            pending.missing == 0 && pending.found.len() == pending.windows.len()
        };
        while self.pending.front().is_some_and(is_complete) {
            let Some(pending) = self.pending.pop_front() else { break };
            let Pending { request, windows, found, problem, .. } = pending;
            self.gone += 1;
            let entities = merge(&request.text, &windows, found);
            done(Prediction::new(request.id, request.text, entities), problem)?;
        }
        ControlFlow::Continue(())
    }
}

fn query<'q>(text: &'q str, entity_type: &'q str) -> Query<'q> {
    Query { text, entity_type, dataset: None }
}
