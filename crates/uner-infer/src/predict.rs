//! Asks a tuned model for the entities of any type in a text.

use std::ops::{ControlFlow, Deref};
use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uner_data::{Entity, align::align};
use uner_model::{Llama, LlamaConfig, WeightsError};
use uner_prompt::{PromptError, Template, Tokenizer, encode_prompt, ner};

use crate::generate::{Generator, NotFinite};

/// The `[infer]` section of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InferConfig {
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Queries decoded together.
    #[serde(alias = "batch_size")]
    pub queries_per_batch: usize,
}

impl Default for InferConfig {
    fn default() -> Self {
        Self { max_new_tokens: 256, queries_per_batch: 16 }
    }
}

/// A question to the model: one type in one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The passage.
    pub text: &'a str,
    /// The entity type, in natural language.
    pub entity_type: &'a str,
    /// The dataset named in the prompt, for templates that name one.
    pub dataset: Option<&'a str>,
}

/// The model's answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The decoded answer, unchanged. If one answer covers all types, each type gets all of it.
    pub raw: String,
    /// The answer for this type alone: `raw`, or, if one answer covers all types, the list of this
    /// type's mentions, in the format of templates that ask for one type at a time.
    pub output: String,
    /// The entities in the answer, in order. The span is `None` for an entity that does not occur
    /// in the text.
    pub entities: Vec<Entity>,
    /// Whether the answer was complete, in the template's format, and nothing else.
    pub well_formed: bool,
}

/// A model that cannot be read, or a query that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The conversation cannot be rendered or encoded.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The prompt and its answer do not fit the model's window.
    #[error(
        "the prompt for `{entity_type}` has {tokens} tokens and its answer up to {max_new_tokens}; the model was made for {window} \
         (`max_position_embeddings`): split the text, which starts with `{start}`"
    )]
    TooLong {
        /// The type asked for.
        entity_type: String,
        /// Length of the prompt.
        tokens: usize,
        /// Room for the answer.
        max_new_tokens: usize,
        /// The model's window.
        window: usize,
        /// First characters of the text.
        start: String,
    },
    /// The model's logits are not finite.
    #[error("{problem}; it was asked for `{entity_type}` in the text that starts with `{start}`")]
    NotFinite {
        /// The problem, with its row of the batch.
        problem: NotFinite,
        /// The type asked for.
        entity_type: String,
        /// First characters of the text.
        start: String,
    },
    /// A file of the model's folder cannot be read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The model cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The files of a model's folder do not fit each other, or one is missing.
    #[error("`{}`: {problem}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The fault and the remedy.
        problem: String,
    },
    /// The progress callback cancelled.
    #[error("stopped before all queries were answered")]
    Stopped,
}

/// A tuned model with the tokenizer and the template it was tuned with.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use burn::tensor::Device;
/// use uner_infer::{Predictor, Query};
///
/// let model = Predictor::load("checkpoints/quickstart/best".as_ref(), &Device::flex())?;
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
    model: Part<'a, Llama>,
    /// The model's dimensions.
    model_config: Part<'a, LlamaConfig>,
    tokenizer: Part<'a, Tokenizer>,
    template: Part<'a, Template>,
    /// How to decode.
    config: InferConfig,
    /// The token that the template ends an answer with.
    end_of_turn: u32,
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
        Ok(Self { model, model_config, tokenizer, template, config, end_of_turn })
    }

    /// The template of the prompts.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Answers every query, in order. If the template asks for all types at once, the queries of
    /// one text share a prompt. Prompts are decoded in batches of similar length. After each batch,
    /// `answered` gets the number of answered queries; it may return `Break` to cancel.
    ///
    /// # Errors
    /// When a query does not fit the model, in which case none is decoded; when logits are not
    /// finite; or when `answered` cancels.
    pub fn answer(
        &self,
        queries: &[Query],
        mut answered: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Response>, InferError> {
        let asked = self.asked(queries);
        let prompts =
            asked.iter().map(|asked| self.prompt(asked, queries)).collect::<Result<Vec<_>, _>>()?;
        let mut by_length: Vec<usize> = (0..asked.len()).collect();
        by_length.sort_by_key(|&index| prompts[index].len());
        let generator = Generator { model: &self.model, config: &self.model_config };
        let mut responses: Vec<(usize, Response)> = Vec::with_capacity(queries.len());
        for batch in by_length.chunks(self.config.queries_per_batch.max(1)) {
            let prompts: Vec<Vec<u32>> =
                batch.iter().map(|&index| prompts[index].clone()).collect();
            let answers =
                generator.greedy(&prompts, self.config.max_new_tokens, |id| self.ends(id));
            let answers = answers.map_err(|problem| {
                let query = queries[asked[batch[problem.row]][0]];
                let (entity_type, start) = (query.entity_type.to_owned(), start(query.text));
                InferError::NotFinite { problem, entity_type, start }
            })?;
            for (&index, ids) in batch.iter().zip(answers) {
                responses.extend(self.responses(&asked[index], queries, &ids)?);
            }
            if answered(responses.len()).is_break() {
                return Err(InferError::Stopped);
            }
        }
        responses.sort_unstable_by_key(|(index, _)| *index);
        Ok(responses.into_iter().map(|(_, response)| response).collect())
    }

    /// The indices of each prompt's queries. The queries of one text share a prompt if the template
    /// asks for all types at once.
    fn asked(&self, queries: &[Query]) -> Vec<Vec<usize>> {
        let mut of_text: IndexMap<(&str, Option<&str>), Vec<usize>> = IndexMap::new();
        for (index, query) in queries.iter().enumerate() {
            of_text.entry((query.text, query.dataset)).or_default().push(index);
        }
        let grouped = |all: Vec<usize>| {
            ner::groups(&self.template, all.len()).map(move |group| all[group].to_vec())
        };
        of_text.into_values().flat_map(grouped).collect()
    }

    /// Whether a token ends an answer: for the template, the tokenizer or the model's files, or
    /// because it is a row of the embedding without a token.
    fn ends(&self, id: u32) -> bool {
        [self.end_of_turn, self.tokenizer.eos()].contains(&id)
            || self.model_config.eos_token_id.contains(&id)
            || id as usize >= self.tokenizer.vocab_size()
    }

    fn prompt(&self, asked: &[usize], queries: &[Query]) -> Result<Vec<u32>, InferError> {
        let types: Vec<String> =
            asked.iter().map(|&index| queries[index].entity_type.to_owned()).collect();
        let (Query { text, dataset, .. }, types) = (queries[asked[0]], ner::list_types(&types));
        let conversation = ner::prompt(text, &types, &self.template, dataset);
        let ids = encode_prompt(&conversation, &self.template, &self.tokenizer)?;
        let (max_new_tokens, window) =
            (self.config.max_new_tokens, self.model_config.max_position_embeddings);
        if ids.len().saturating_add(max_new_tokens) > window {
            return Err(InferError::TooLong {
                entity_type: types,
                tokens: ids.len(),
                max_new_tokens,
                window,
                start: start(text),
            });
        }
        Ok(ids)
    }

    /// The response to each query of a prompt, with the query's index.
    fn responses(
        &self,
        asked: &[usize],
        queries: &[Query],
        ids: &[u32],
    ) -> Result<Vec<(usize, Response)>, InferError> {
        let text = self.tokenizer.decode(ids).map_err(PromptError::from)?;
        // The model also generates the blank before its answer; some tokenizers drop it at a text's
        // start.
        let raw = text.strip_prefix(' ').unwrap_or(&text).to_owned();
        let types: Vec<&str> = asked.iter().map(|&index| queries[index].entity_type).collect();
        let (mentions, well_formed) = ner::read(&raw, &types, &self.template);
        let is_shared = ner::asks_all_types(&self.template);
        let response = |(&index, mentions): (&usize, Vec<String>)| {
            let Query { text, entity_type, .. } = queries[index];
            let output = if is_shared {
                uner_prompt::answer(&mentions, self.template.answer_characters)
            } else {
                raw.clone()
            };
            let spans = align(text, &mentions);
            let entity = |(text, span)| Entity { text, entity_type: entity_type.to_owned(), span };
            let entities = mentions.into_iter().zip(spans).map(entity).collect();
            (index, Response { raw: raw.clone(), output, entities, well_formed })
        };
        Ok(asked.iter().zip(mentions).map(response).collect())
    }
}

/// The first characters of a text, which identify it in a message.
fn start(text: &str) -> String {
    text.chars().take(40).collect()
}
