//! Asks a tuned model for the entities of any type in a text.

use std::ops::{ControlFlow, Deref};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;
use indexmap::IndexMap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use uner_data::align::{self, align};
use uner_data::{Entity, FoundEntity, FoundRelation};
use uner_model::{BaseFormat, Llama, LlamaConfig};
use uner_prompt::grounded::{Grounding, Pieces};
use uner_prompt::mission::{self, Item};
use uner_prompt::{PromptError, Template, Tokenizer};

use crate::engine::{Answer, Engine, Limits, Memory, Prompt, Sampling, Stop};
use crate::error::InferError;
use crate::generate::Generator;
use crate::span_reader::SpanReader;

/// Memory that the keys and values of all running queries may take, in bytes.
const CACHE_BYTES: usize = 8 << 30;

/// Texts that a span head reads between two reports of progress.
const TEXTS_AT_ONCE: usize = 64;

/// The `[infer]` section of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InferConfig {
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Queries decoded together.
    #[serde(alias = "batch_size")]
    pub queries_per_batch: usize,
    /// What an answer may contain.
    pub decoding: Decoding,
}

/// What an answer may contain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoding {
    /// Mentions that occur in the passage, in the template's format.
    #[default]
    Grounded,
    /// Anything, as in the released code of UniversalNER.
    Free,
}

impl Default for InferConfig {
    fn default() -> Self {
        Self { max_new_tokens: 256, queries_per_batch: 64, decoding: Decoding::Grounded }
    }
}

/// A question to the model: one type, of entities or relations, in one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The passage.
    pub text: &'a str,
    /// The type of entities or relations, in natural language.
    pub entity_type: &'a str,
    /// The dataset named in the prompt, for templates that name one.
    pub dataset: Option<&'a str>,
}

/// The model's answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The decoded answer, unchanged. If one answer covers all types, each type gets all of it.
    pub raw: String,
    /// The answer for this type alone: `raw`, or, if one answer covers all types, the list of this
    /// type's mentions, in the format of templates that ask for one type at a time.
    pub output: String,
    /// The entities in the answer, in order. The k-th repeat of a mention has its k-th occurrence.
    pub entities: Vec<FoundEntity>,
    /// The relations in the answer, in order, if the template asks for relations.
    pub relations: Vec<FoundRelation>,
    /// The probability that the text has no entity of the type. `None` with [`Decoding::Free`], and
    /// if one answer covers all types.
    pub empty_probability: Option<f64>,
    /// Whether the answer was complete, in the template's format, and nothing else.
    pub well_formed: bool,
}

/// A tuned model with the tokenizer and the template it was tuned with.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use burn::tensor::Device;
/// use uner_infer::{Predictor, Query};
///
/// let model = Predictor::load("checkpoints/quickstart/step-003250".as_ref(), &Device::flex())?;
/// let text = "Tim Cook runs Apple.";
/// let queries = ["person", "organization"]
///     .map(|entity_type| Query { text, entity_type, dataset: None });
/// for response in model.answer(&queries, |_| ControlFlow::Continue(()))? {
///     println!("{:?}", response.entities);
/// }
/// # Ok::<(), uner_infer::InferError>(())
/// ```
#[derive(Debug)]
pub struct Predictor<'a> {
    pub(crate) model: Part<'a, Llama>,
    /// The model's dimensions.
    pub(crate) model_config: Part<'a, LlamaConfig>,
    pub(crate) tokenizer: Part<'a, Tokenizer>,
    pub(crate) template: Part<'a, Template>,
    /// How to decode.
    pub(crate) config: InferConfig,
    /// The token that the template ends an answer with.
    pub(crate) end_of_turn: u32,
    /// The vocabulary of grounded answers; `None` if answers are free.
    pub(crate) pieces: Option<Arc<Pieces>>,
    /// If the model reads entities with a span head.
    pub(crate) spans: Option<SpanReader>,
    pub(crate) sampling: Sampling,
    /// The base of the model's weights, if it was read from a folder.
    pub(crate) base: Option<WeightsOf>,
    /// The cache of the last engine, which holds the beginning of all prompts.
    pub(crate) memory: Mutex<Option<Memory>>,
}

/// The weights of a base model, in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WeightsOf {
    pub(crate) fingerprint: u32,
    pub(crate) form: Option<BaseFormat>,
}

/// Prompts with their queries, and the queries that cannot be asked.
type Askable<'p> = (Vec<(PromptQueries, Prompt<'p>)>, Vec<(usize, InferError)>);

/// Queries that one prompt asks.
pub(crate) struct PromptQueries {
    /// Indices of the queries.
    pub(crate) queries: Vec<usize>,
    pub(crate) grounding: Option<Arc<Grounding>>,
}

/// A part of a predictor: borrowed from the caller, or owned.
#[derive(Debug)]
pub(crate) enum Part<'a, T> {
    Borrowed(&'a T),
    Owned(Box<T>),
}

impl<T> Deref for Part<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Borrowed(part) => part,
            Self::Owned(part) => part,
        }
    }
}

impl<'a> Predictor<'a> {
    /// A predictor with parts that the caller owns.
    ///
    /// # Errors
    /// When the model's chat template does not end an answer with a special token.
    pub fn new(
        generator: Generator<'a>,
        tokenizer: &'a Tokenizer,
        template: &'a Template,
        config: InferConfig,
    ) -> Result<Self, PromptError> {
        let Generator { model, config: model_config } = generator;
        let parts = (Part::Borrowed(model), Part::Borrowed(model_config));
        Self::of(parts, Part::Borrowed(tokenizer), Part::Borrowed(template), config)
    }

    pub(crate) fn of(
        (model, model_config): (Part<'a, Llama>, Part<'a, LlamaConfig>),
        tokenizer: Part<'a, Tokenizer>,
        template: Part<'a, Template>,
        config: InferConfig,
    ) -> Result<Self, PromptError> {
        let end_of_turn = template.end_of_turn(&tokenizer)?;
        let spans = model.span_head.is_some().then(|| SpanReader::new(&tokenizer)).transpose()?;
        let pieces = match config.decoding {
            Decoding::Grounded if spans.is_none() => writable_pieces(&template, &tokenizer),
            _ => None,
        };
        Ok(Self {
            model,
            model_config,
            tokenizer,
            template,
            config,
            end_of_turn,
            pieces,
            spans,
            sampling: Sampling::Greedy,
            base: None,
            memory: Mutex::new(None),
        })
    }

    /// Chooses tokens in another way than greedily.
    #[must_use]
    pub fn with_sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }

    /// The template of the prompts.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// The device of the model.
    pub fn device(&self) -> Device {
        self.model.head().device()
    }

    /// Whether answers only contain mentions that occur in the text.
    pub fn is_grounded(&self) -> bool {
        self.pieces.is_some() || self.spans.is_some()
    }

    /// The token that the template ends an answer with.
    pub fn end_of_turn(&self) -> u32 {
        self.end_of_turn
    }

    /// The token ids of the prompt for one query.
    ///
    /// # Errors
    /// When the prompt cannot be rendered, or does not fit the model.
    pub fn prompt_of(&self, query: &Query) -> Result<Vec<u32>, InferError> {
        self.checked_ids(query.text, &[query.entity_type], query.dataset)
    }

    /// Answers every query, in order. The queries of one text share its computation, and a prompt
    /// if the template asks for all types at once. After each text, `answered` gets the number of
    /// answered queries; it may return `Break` to cancel.
    ///
    /// # Errors
    /// When a query does not fit the model, in which case none is decoded; when logits are not
    /// finite; or when `answered` cancels.
    pub fn answer(
        &self,
        queries: &[Query],
        answered: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Response>, InferError> {
        if self.spans.is_some() {
            return self.answer_each(queries, answered)?.into_iter().collect();
        }
        let texts = by_text(queries).into_values();
        let texts: Vec<Vec<usize>> = texts.collect();
        let texts = texts.par_iter().map(|indices| self.prompts(indices, queries));
        let texts = texts.collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut responses = self.answer_texts(texts, queries, answered)?;
        responses.sort_unstable_by_key(|(index, _)| *index);
        Ok(responses.into_iter().map(|(_, response)| response).collect())
    }

    /// As [`Self::answer`], but a query that cannot be asked, because it does not fit the model or
    /// its answer cannot be constrained, has that error in its place; the others are answered.
    ///
    /// # Errors
    /// When a prompt cannot be rendered; when logits are not finite; or when `answered` cancels.
    pub fn answer_each(
        &self,
        queries: &[Query],
        mut answered: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Result<Response, InferError>>, InferError> {
        let of_texts: Vec<Vec<usize>> = by_text(queries).into_values().collect();
        if let Some(reader) = &self.spans {
            let mut all = Vec::with_capacity(queries.len());
            for texts in of_texts.chunks(TEXTS_AT_ONCE) {
                all.extend(self.read_queries(reader, queries, texts)?);
                if answered(all.len()).is_break() {
                    return Err(InferError::Stopped);
                }
            }
            all.sort_unstable_by_key(|(index, _)| *index);
            return Ok(all.into_iter().map(|(_, response)| response).collect());
        }
        let of_texts = of_texts.par_iter().map(|indices| self.askable(indices, queries));
        let (mut texts, mut all) = (Vec::new(), Vec::with_capacity(queries.len()));
        for asked in of_texts.collect::<Vec<_>>() {
            let (asked, refused) = asked?;
            texts.push(asked.into_iter().unzip());
            all.extend(refused.into_iter().map(|(index, error)| (index, Err(error))));
        }
        let responses = self.answer_texts(texts, queries, answered)?;
        all.extend(responses.into_iter().map(|(index, response)| (index, Ok(response))));
        all.sort_unstable_by_key(|(index, _)| *index);
        Ok(all.into_iter().map(|(_, response)| response).collect())
    }

    /// The prompts of one text, and the queries that cannot be asked, with their errors.
    fn askable(&self, indices: &[usize], queries: &[Query]) -> Result<Askable<'_>, InferError> {
        let (mut asked, mut refused, mut shared) = (Vec::new(), Vec::new(), None);
        for group in mission::groups(&self.template, indices.len()) {
            let indices = &indices[group];
            match self.prompt(indices, queries, &mut shared) {
                Ok(prompt) => asked.push(prompt),
                Err(error @ (InferError::TooLong { .. } | InferError::Grounding(_))) => {
                    let message = error.to_string();
                    let error = |&index: &usize| (index, InferError::Text(message.clone()));
                    refused.extend(indices.iter().map(error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((asked, refused))
    }

    /// The responses to the prompts of texts, with the index of each query.
    fn answer_texts(
        &self,
        texts: Vec<(Vec<PromptQueries>, Vec<Prompt>)>,
        queries: &[Query],
        mut answered: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<(usize, Response)>, InferError> {
        let (asked, prompts): (Vec<Vec<PromptQueries>>, Vec<Vec<Prompt>>) =
            texts.into_iter().unzip();
        let mut responses: Vec<(usize, Response)> = Vec::with_capacity(queries.len());
        let mut problem = None;
        let outcome = self.run_engine(prompts, |text, answers| {
            for (asked, answer) in asked[text].iter().zip(&answers) {
                match self.responses(asked, queries, answer) {
                    Ok(found) => responses.extend(found),
                    Err(error) => {
                        problem = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            answered(responses.len())
        })?;
        match (outcome, problem) {
            (_, Some(problem)) => Err(problem.into()),
            (Err(Stop::Cancelled), None) => Err(InferError::Stopped),
            (Err(Stop::NotFinite(text, prompt)), None) => {
                let index = asked[text][prompt].queries[0];
                Err(InferError::not_finite(queries[index].text, queries[index].entity_type, index))
            }
            (Ok(()), None) => Ok(responses),
        }
    }

    /// Runs prompts through an engine that has computed the beginning that all prompts share. That
    /// is done once for a predictor.
    pub(crate) fn run_engine<'p>(
        &self,
        passages: impl IntoIterator<Item = Vec<Prompt<'p>>>,
        finished: impl FnMut(usize, Vec<Answer>) -> ControlFlow<()>,
    ) -> Result<Result<(), Stop>, InferError> {
        let InferConfig { max_new_tokens, queries_per_batch, .. } = self.config;
        let bytes = self.model.cache_bytes_per_token(&self.model_config);
        let limits = Limits {
            max_new_tokens,
            prompts: queries_per_batch,
            slots: CACHE_BYTES / bytes.max(1),
        };
        let [first, second] = ["a", "b"].map(|text| self.prompt_ids(text, &["a"], None));
        let (first, second) = (first?, second?);
        let shared = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
        let (model, config): (&Llama, &LlamaConfig) = (&self.model, &self.model_config);
        // A second thread finds no cache here and makes its own.
        let memory = self.memory().take().unwrap_or_else(|| Memory::new(model, config));
        let mut engine = Engine::with_memory(model, config, limits, self.sampling, memory);
        engine.share(first[..shared].to_vec());
        let outcome = engine.run(passages, finished);
        *self.memory() = Some(engine.into_memory());
        Ok(outcome)
    }

    fn memory(&self) -> MutexGuard<'_, Option<Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The response to each query of a prompt, with the query's index.
    pub(crate) fn responses(
        &self,
        asked: &PromptQueries,
        queries: &[Query],
        answer: &Answer,
    ) -> Result<Vec<(usize, Response)>, PromptError> {
        let text = self.tokenizer.decode(&answer.ids)?;
        // The model also generates the blank before its answer; some tokenizers drop it at a text's
        // start.
        let raw = text.strip_prefix(' ').unwrap_or(&text).to_owned();
        let types: Vec<&str> =
            asked.queries.iter().map(|&index| queries[index].entity_type).collect();
        let (items, well_formed) = if let Some(grounding) = &asked.grounding {
            (grounded_items(grounding, answer, types.len()), answer.ended)
        } else {
            let (items, well_formed) = mission::read(&raw, &types, &self.template);
            let without =
                |items: Vec<Item>| items.into_iter().map(|item| (item, None)).collect::<Vec<_>>();
            (items.into_iter().map(without).collect(), well_formed)
        };
        let is_shared = mission::asks_all_types(&self.template);
        let empty_probability =
            (asked.grounding.is_some() && !is_shared).then_some(answer.empty_probability);
        let response = |(&index, items): (&usize, Vec<(Item, Option<f64>)>)| {
            let query = &queries[index];
            let (entities, relations) = match mission::of(&self.template).arity() {
                1 => (found_entities(query, items), Vec::new()),
                _ => (Vec::new(), found_relations(query, items)),
            };
            let output = if is_shared {
                let mentions: Vec<&str> =
                    entities.iter().map(|found| &*found.entity.text).collect();
                uner_prompt::answer(&mentions, self.template.answer_characters)
            } else {
                raw.clone()
            };
            let raw = raw.clone();
            let response =
                Response { raw, output, entities, relations, empty_probability, well_formed };
            (index, response)
        };
        Ok(asked.queries.iter().zip(items).map(response).collect())
    }
}

/// The indices of the queries of each text.
fn by_text<'q>(queries: &[Query<'q>]) -> IndexMap<(&'q str, Option<&'q str>), Vec<usize>> {
    let mut of_text: IndexMap<_, Vec<usize>> = IndexMap::new();
    for (index, query) in queries.iter().enumerate() {
        of_text.entry((query.text, query.dataset)).or_default().push(index);
    }
    of_text
}

/// The items of each of `types` types, with their probabilities.
fn grounded_items(
    grounding: &Grounding,
    answer: &Answer,
    types: usize,
) -> Vec<Vec<(Item, Option<f64>)>> {
    let mut items = vec![Vec::new(); types];
    for item in grounding.items(&answer.ids, answer.ended) {
        let probability = answer.probabilities[item.tokens.clone()].iter().product();
        items[item.type_idx.unwrap_or(0)].push((item.mentions, Some(probability)));
    }
    items
}

fn found_entities(query: &Query, items: Vec<(Item, Option<f64>)>) -> Vec<FoundEntity> {
    let Query { text, entity_type, .. } = *query;
    let (items, probabilities): (Vec<Item>, Vec<Option<f64>>) = items.into_iter().unzip();
    let mentions: Vec<String> = items.into_iter().flatten().collect();
    let spans = align(text, &mentions);
    let entity = |((text, span), probability)| FoundEntity {
        entity: Entity { text, entity_type: entity_type.to_owned(), span },
        probability,
    };
    mentions.into_iter().zip(spans).zip(probabilities).map(entity).collect()
}

fn found_relations(query: &Query, items: Vec<(Item, Option<f64>)>) -> Vec<FoundRelation> {
    let relation = |(item, probability)| FoundRelation {
        relation: align::relation(query.text, query.entity_type, item),
        probability,
    };
    items.into_iter().map(relation).collect()
}

/// The vocabulary, if it can write answers of the template's form. Warns if it cannot.
fn writable_pieces(template: &Template, tokenizer: &Tokenizer) -> Option<Arc<Pieces>> {
    let pieces = Arc::new(Pieces::new(tokenizer));
    match Grounding::new("a", &["a"], template, Arc::clone(&pieces)) {
        Ok(_) => Some(pieces),
        Err(error) => {
            tracing::warn!("answers are not grounded: {error}");
            None
        }
    }
}
