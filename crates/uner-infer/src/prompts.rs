//! The prompts of a predictor's queries, with the tokens that may follow them.

use std::ops::Range;
use std::sync::Arc;

use uner_prompt::grounded::Grounding;
use uner_prompt::{encode_prompt, mission};

use crate::engine::{FreeDecoder, Prompt};
use crate::error::{InferError, start};
use crate::grounded::GroundedDecoder;
use crate::predict::{Predictor, PromptQueries, Query};

impl Predictor<'_> {
    /// The prompts of one text, with the queries that each asks.
    pub(crate) fn prompts(
        &self,
        indices: &[usize],
        queries: &[Query],
    ) -> Result<(Vec<PromptQueries>, Vec<Prompt<'_>>), InferError> {
        let mut shared = None;
        let groups = mission::groups(&self.template, indices.len());
        let prompt = |group: Range<usize>| self.prompt(&indices[group], queries, &mut shared);
        let prompts = groups.map(prompt).collect::<Result<Vec<_>, InferError>>()?;
        Ok(prompts.into_iter().unzip())
    }

    /// The prompt for some queries about one text. `shared` is the text's grounding, if that does
    /// not depend on the types.
    pub(crate) fn prompt(
        &self,
        indices: &[usize],
        queries: &[Query],
        shared: &mut Option<Arc<Grounding>>,
    ) -> Result<(PromptQueries, Prompt<'_>), InferError> {
        let Query { text, dataset, .. } = queries[indices[0]];
        let types: Vec<&str> = indices.iter().map(|&index| queries[index].entity_type).collect();
        let ids = self.checked_ids(text, &types, dataset)?;
        let grounding = match (&self.pieces, &*shared) {
            (None, _) => None,
            (Some(_), Some(grounding)) => Some(Arc::clone(grounding)),
            (Some(pieces), None) => {
                let pieces = Arc::clone(pieces);
                Some(Arc::new(Grounding::new(text, &types, &self.template, pieces)?))
            }
        };
        if !mission::asks_all_types(&self.template) {
            shared.clone_from(&grounding);
        }
        let prompt = match &grounding {
            Some(grounding) => {
                Prompt::new(ids, GroundedDecoder::new(Arc::clone(grounding), self.end_of_turn))
            }
            None => Prompt::new(ids, FreeDecoder::new(|id| self.ends(id))),
        };
        Ok((PromptQueries { queries: indices.to_vec(), grounding }, prompt))
    }

    /// Whether a token ends an answer: for the template, the tokenizer or the model's files, or
    /// because it is a row of the embedding without a token.
    pub(crate) fn ends(&self, id: u32) -> bool {
        [self.end_of_turn, self.tokenizer.eos()].contains(&id)
            || self.model_config.eos_token_id.contains(&id)
            || id as usize >= self.tokenizer.vocab_size()
    }

    pub(crate) fn prompt_ids(
        &self,
        text: &str,
        types: &[&str],
        dataset: Option<&str>,
    ) -> Result<Vec<u32>, InferError> {
        let types: Vec<String> = types.iter().map(ToString::to_string).collect();
        let conversation =
            mission::prompt(text, &mission::list_types(&types), &self.template, dataset);
        Ok(encode_prompt(&conversation, &self.template, &self.tokenizer)?)
    }

    /// Whether the prompts for queries about one text fit the model with their answers.
    ///
    /// # Errors
    /// When a prompt cannot be rendered or encoded.
    pub fn fits(&self, queries: &[Query]) -> Result<bool, InferError> {
        let Some(&Query { text, dataset, .. }) = queries.first() else { return Ok(true) };
        if let Some(reader) = &self.spans {
            queries.iter().try_for_each(|query| self.check_type(reader, query.entity_type))?;
            return match self.read_twice(reader, text) {
                Ok(_) => Ok(true),
                Err(InferError::TooLongTwice { .. }) => Ok(false),
                Err(error) => Err(error),
            };
        }
        let types: Vec<&str> = queries.iter().map(|query| query.entity_type).collect();
        for group in mission::groups(&self.template, types.len()) {
            match self.checked_ids(text, &types[group], dataset) {
                Ok(_) => {}
                Err(InferError::TooLong { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The ids of a prompt that fits the model with its answer.
    pub(crate) fn checked_ids(
        &self,
        text: &str,
        types: &[&str],
        dataset: Option<&str>,
    ) -> Result<Vec<u32>, InferError> {
        let ids = self.prompt_ids(text, types, dataset)?;
        let (max_new_tokens, window) =
            (self.config.max_new_tokens, self.model_config.context_limit());
        if ids.len().saturating_add(max_new_tokens) > window.0 {
            return Err(InferError::TooLong {
                entity_type: types.join(", "),
                tokens: ids.len(),
                max_new_tokens,
                window,
                start: start(text),
            });
        }
        Ok(ids)
    }
}
