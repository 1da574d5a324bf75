//! Entities by a span head: the passage is read twice, and the tokens of the second reading are
//! tagged for all types at once (*just pass twice*, arXiv 2604.05158).
//!
//! Nothing is generated. A type costs one short sequence the first time it is asked, and a product
//! with each token.

mod pass;
mod tags;

use std::collections::HashMap;

use indexmap::IndexSet;
use rayon::prelude::*;
use uner_data::{Entity, FoundEntity};
use uner_model::SpanHead;
use uner_model::span_head::indices;
use uner_prompt::TwiceRead;

use crate::error::{InferError, start};
use crate::predict::{Predictor, Query, Response};
use crate::span_reader::SpanReader;
use pass::{Pass, passes};
use tags::{Tagged, tagged};

/// Types that are compared with the tokens of a pass at a time.
const TYPES_AT_ONCE: usize = 256;

/// A passage, and the types that are asked of it.
#[derive(Debug)]
pub(crate) struct Asked<'q> {
    pub(crate) text: &'q str,
    pub(crate) types: Vec<&'q str>,
}

/// The response to a query, with the query's index.
pub(crate) type Answered = (usize, Result<Response, InferError>);

/// The entities of one type in a passage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read {
    pub(crate) entities: Vec<FoundEntity>,
    /// The probability that there are none.
    pub(crate) empty_probability: f64,
}

impl Predictor<'_> {
    /// Encodes a passage that fits the model's window.
    pub(crate) fn read_twice(
        &self,
        reader: &SpanReader,
        text: &str,
    ) -> Result<TwiceRead, InferError> {
        let passage = reader.encoder.passage(text, &self.tokenizer)?;
        let (window, key) = self.model_config.context_limit();
        if passage.ids.len() > window {
            return Err(InferError::TooLongTwice {
                tokens: passage.ids.len(),
                window: (window, key),
                start: start(text),
            });
        }
        Ok(passage)
    }

    /// Refuses a type that does not fit the model's window.
    pub(crate) fn check_type(&self, reader: &SpanReader, name: &str) -> Result<(), InferError> {
        let window = self.model_config.context_limit();
        // No token is shorter than a byte.
        if name.len() + 2 <= window.0 {
            return Ok(());
        }
        let tokens = reader.encoder.entity_type(name, &self.tokenizer)?.len();
        if tokens > window.0 {
            return Err(InferError::TooLongTwice { tokens, window, start: start(name) });
        }
        Ok(())
    }

    /// The entities of passages, in order: a result for each type of each passage that can be read.
    /// All types fit the model's window.
    ///
    /// # Errors
    /// When the tokenizer fails on a type, or the scores of a passage are not finite.
    pub(crate) fn read_spans(
        &self,
        reader: &SpanReader,
        asked: &[Asked],
    ) -> Result<Vec<Result<Vec<Read>, InferError>>, InferError> {
        let names: IndexSet<&str> = asked.iter().flat_map(|asked| asked.types.clone()).collect();
        let embeddings = self.embed_types(reader, &names)?;
        let read: Vec<Result<TwiceRead, InferError>> =
            asked.par_iter().map(|asked| self.read_twice(reader, asked.text)).collect();
        let readable = asked.iter().zip(&read);
        let readable: Vec<(&Asked, &TwiceRead)> =
            readable.filter_map(|(asked, read)| Some((asked, read.as_ref().ok()?))).collect();
        let lengths = readable.iter().map(|(_, read)| read.ids.len());
        let mut found = Vec::with_capacity(readable.len());
        for range in passes(lengths, self.tokens_of_a_pass()) {
            found.extend(self.read_pass(&readable[range], &embeddings)?);
        }
        let mut found = found.into_iter();
        let of_passage = |read: Result<TwiceRead, InferError>| {
            read.map(|_| found.next().expect("every passage that fits was read"))
        };
        Ok(read.into_iter().map(of_passage).collect())
    }

    /// The entities of each type in passages that are read in one pass.
    fn read_pass<'q>(
        &self,
        passages: &[(&Asked<'q>, &TwiceRead)],
        embeddings: &HashMap<String, Vec<f32>>,
    ) -> Result<Vec<Vec<Read>>, InferError> {
        let pass = Pass::new(passages.iter().map(|(_, read)| &*read.ids));
        let places = (0..).zip(passages);
        let tokens = places.flat_map(|(place, (_, read))| pass.tokens(place, read.second));
        let tokens: Vec<i32> = tokens.map(|token| token as i32).collect();
        if tokens.is_empty() {
            let nothing = || Read { entities: Vec::new(), empty_probability: 1.0 };
            let of_passage = |asked: &Asked| asked.types.iter().map(|_| nothing()).collect();
            return Ok(passages.iter().map(|(asked, _)| of_passage(asked)).collect());
        }
        let hidden = self.hidden(&pass).select(0, indices(&tokens, &self.device()));
        let names: IndexSet<&'q str> =
            passages.iter().flat_map(|(asked, _)| asked.types.iter().copied()).collect();
        let names: Vec<&'q str> = names.into_iter().collect();
        let mut found: Vec<HashMap<&'q str, Read>> = vec![HashMap::new(); passages.len()];
        for names in names.chunks(TYPES_AT_ONCE) {
            let types: Vec<&[f32]> = names.iter().map(|&name| &*embeddings[name]).collect();
            let scores = self.tag(hidden.clone(), &types);
            let scores: HashMap<&'q str, Vec<f32>> = names.iter().copied().zip(scores).collect();
            let mut start = 0;
            for (found, &(asked, read)) in found.iter_mut().zip(passages) {
                let end = start + 3 * read.goes_on.len();
                for &name in &asked.types {
                    if let Some(scores) = scores.get(name) {
                        let read = entities(&scores[start..end], read, asked.text, name)?;
                        found.insert(name, read);
                    }
                }
                start = end;
            }
        }
        let mut of_passages = Vec::with_capacity(passages.len());
        for (found, (asked, _)) in found.iter().zip(passages) {
            of_passages.push(asked.types.iter().map(|name| found[name].clone()).collect());
        }
        Ok(of_passages)
    }

    /// The embedding of each type, by name.
    fn embed_types(
        &self,
        reader: &SpanReader,
        names: &IndexSet<&str>,
    ) -> Result<HashMap<String, Vec<f32>>, InferError> {
        let mut known = HashMap::new();
        let mut new = Vec::new();
        for &name in names {
            match reader.embedding(name) {
                Some(embedding) => drop(known.insert(name.to_owned(), embedding)),
                None => new.push((name, reader.encoder.entity_type(name, &self.tokenizer)?)),
            }
        }
        for range in passes(new.iter().map(|(_, ids)| ids.len()), self.tokens_of_a_pass()) {
            let group = &new[range];
            let pass = Pass::new(group.iter().map(|(_, ids)| &**ids));
            let last = self.hidden(&pass).select(0, pass.last_tokens(&self.device()));
            let values: Vec<f32> =
                self.span_head().embed_types(last).try_into_vec_as().expect("f32 of the device");
            let each = values.chunks(self.model_config.hidden_size);
            for ((name, _), embedding) in group.iter().zip(each) {
                reader.keep(name, embedding);
                known.insert((*name).to_owned(), embedding.to_vec());
            }
        }
        Ok(known)
    }

    pub(super) fn span_head(&self) -> &SpanHead {
        self.model.span_head.as_ref().expect("a predictor with a reader of spans")
    }

    /// The responses to queries, by a span head. A query that cannot be asked has an error.
    pub(crate) fn read_queries(
        &self,
        reader: &SpanReader,
        queries: &[Query],
        texts: &[Vec<usize>],
    ) -> Result<Vec<Answered>, InferError> {
        let mut responses = Vec::with_capacity(queries.len());
        let (mut askable, mut asked) = (Vec::new(), Vec::new());
        for indices in texts {
            let mut own = Vec::with_capacity(indices.len());
            for &index in indices {
                match self.check_type(reader, queries[index].entity_type) {
                    Ok(()) => own.push(index),
                    Err(error) => responses.push((index, Err(error))),
                }
            }
            if let Some(&first) = own.first() {
                let types = own.iter().map(|&index| queries[index].entity_type).collect();
                asked.push(Asked { text: queries[first].text, types });
                askable.push(own);
            }
        }
        for (indices, read) in askable.into_iter().zip(self.read_spans(reader, &asked)?) {
            match read {
                Ok(read) => responses.extend(
                    indices
                        .into_iter()
                        .zip(read)
                        .map(|(index, read)| (index, Ok(self.response(read)))),
                ),
                Err(error) => {
                    let message = error.to_string();
                    let error = |index: usize| (index, Err(InferError::Text(message.clone())));
                    responses.extend(indices.into_iter().map(error));
                }
            }
        }
        Ok(responses)
    }

    fn response(&self, read: Read) -> Response {
        let Read { entities, empty_probability } = read;
        let mentions: Vec<&str> = entities.iter().map(|found| &*found.entity.text).collect();
        let output = uner_prompt::answer(&mentions, self.template.answer_characters);
        Response {
            raw: output.clone(),
            output,
            entities,
            relations: Vec::new(),
            empty_probability: Some(empty_probability),
            well_formed: true,
        }
    }
}

/// The entities of one type in a passage, from the scores of its tokens.
fn entities(
    scores: &[f32],
    passage: &TwiceRead,
    text: &str,
    name: &str,
) -> Result<Read, InferError> {
    let Tagged { entities, empty_probability } = tagged(scores, &passage.goes_on);
    if !empty_probability.is_finite() {
        return Err(InferError::not_finite(text, name, 0));
    }
    let entity = |(tokens, probability)| {
        let span = passage.span_of(tokens)?;
        let (text, entity_type) = (span.slice(text)?.to_owned(), name.to_owned());
        let entity = Entity { text, entity_type, span: Some(span) };
        Some(FoundEntity { entity, probability: Some(probability) })
    };
    Ok(Read { entities: entities.into_iter().filter_map(entity).collect(), empty_probability })
}
