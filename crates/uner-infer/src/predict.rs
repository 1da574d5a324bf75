//! Asking a tuned model for the entities of any type in a text.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use uner_data::{Entity, align::align};
use uner_prompt::{PromptError, Template, Tokenizer, encode_prompt, ner, parse_answer};

use crate::generate::Generator;

/// The `[infer]` section of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferConfig {
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Queries decoded together.
    pub batch_size: usize,
}

/// One type asked of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The passage.
    pub text: &'a str,
    /// The entity type, in natural language.
    pub entity_type: &'a str,
    /// The dataset named in the prompt, for templates that name one.
    pub dataset: Option<&'a str>,
}

/// What the model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The decoded answer as it came.
    pub output: String,
    /// The entities in it, in order, each at its place in the text; `None` for those that do not occur there.
    pub entities: Vec<Entity>,
    /// Whether the answer was a whole JSON list.
    pub well_formed: bool,
}

/// A question that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The conversation cannot be rendered or encoded.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The prompt and its answer do not fit the model.
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
    /// Whoever was told of the progress did not want the rest.
    #[error("stopped before all queries were answered")]
    Stopped,
}

/// A tuned model with the tokenizer and the template it was tuned with.
#[derive(Debug, Clone, Copy)]
pub struct Predictor<'a> {
    /// The model.
    pub generator: Generator<'a>,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Its template.
    pub template: &'a Template,
    /// How to decode.
    pub config: InferConfig,
}

impl Predictor<'_> {
    /// Answers every query, in order. Queries are decoded in batches of similar length; `answered` is told the number
    /// done after each batch, and may break off.
    ///
    /// # Errors
    /// When a query does not fit the model, and none is decoded then; or when `answered` breaks off.
    pub fn answer(
        &self,
        queries: &[Query],
        mut answered: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Response>, InferError> {
        let prompts = queries.iter().map(|query| self.prompt(query)).collect::<Result<Vec<_>, _>>()?;
        let mut by_length: Vec<usize> = (0..queries.len()).collect();
        by_length.sort_by_key(|&index| prompts[index].len());
        let mut responses: Vec<(usize, Response)> = Vec::with_capacity(queries.len());
        let mut done = 0;
        for batch in by_length.chunks(self.config.batch_size.max(1)) {
            let prompts: Vec<Vec<u32>> = batch.iter().map(|&index| prompts[index].clone()).collect();
            let answers = self.generator.greedy(&prompts, self.config.max_new_tokens, |id| self.ends(id));
            for (&index, ids) in batch.iter().zip(answers) {
                responses.push((index, self.response(&queries[index], &ids)?));
            }
            done += batch.len();
            if answered(done).is_break() {
                return Err(InferError::Stopped);
            }
        }
        responses.sort_unstable_by_key(|(index, _)| *index);
        Ok(responses.into_iter().map(|(_, response)| response).collect())
    }

    /// Whether a token ends an answer: by the tokenizer, by the model's files, or because it is none, only a row of the embedding.
    fn ends(&self, id: u32) -> bool {
        id == self.tokenizer.eos()
            || self.generator.config.eos_token_id.contains(&id)
            || id as usize >= self.tokenizer.vocab_size()
    }

    fn prompt(&self, query: &Query) -> Result<Vec<u32>, InferError> {
        let conversation = ner::prompt(query.text, query.entity_type, self.template, query.dataset);
        let ids = encode_prompt(&conversation, self.template, self.tokenizer)?;
        let (max_new_tokens, window) =
            (self.config.max_new_tokens, self.generator.config.max_position_embeddings);
        if ids.len() + max_new_tokens > window {
            return Err(InferError::TooLong {
                entity_type: query.entity_type.to_owned(),
                tokens: ids.len(),
                max_new_tokens,
                window,
                start: query.text.chars().take(40).collect(),
            });
        }
        Ok(ids)
    }

    fn response(&self, query: &Query, ids: &[u32]) -> Result<Response, InferError> {
        let output = self.tokenizer.decode(ids).map_err(PromptError::from)?;
        let parsed = parse_answer(&output);
        let spans = align(query.text, &parsed.entities);
        let entities = parsed.entities.into_iter().zip(spans).map(|(text, span)| Entity {
            text,
            entity_type: query.entity_type.to_owned(),
            span,
        });
        Ok(Response { entities: entities.collect(), well_formed: parsed.well_formed, output })
    }
}
