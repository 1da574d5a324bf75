//! `uner predict`: the entities of a text as JSON, or of documents as a file.

mod files;

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::{Result, bail, ensure};
use indexmap::IndexMap;
use serde::Serialize;
use uner_data::predictions::PredictedEntity;
use uner_data::{Entity, FoundRelation, regular};
use uner_infer::{FoundEntity, Predictor, Query};
use uner_prompt::mission;

use crate::Ending;
use crate::args::PredictArgs;
use crate::model;

/// The result that is printed.
#[derive(Serialize)]
struct Found<'a> {
    text: &'a str,
    /// In text order.
    entities: Vec<FoundEntity>,
    /// Those of a model that is asked for relations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relations: Vec<FoundRelation>,
    /// Mentions that do not occur in the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ungrounded: Vec<Ungrounded>,
    /// Types whose answer was not a complete JSON list. Its readable part is among the entities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    malformed: Vec<&'a str>,
    /// The answer to each type as the model wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<IndexMap<&'a str, String>>,
}

impl<'a> Found<'a> {
    fn of(text: &'a str) -> Self {
        let (entities, relations, ungrounded) = (Vec::new(), Vec::new(), Vec::new());
        Self { text, entities, relations, ungrounded, malformed: Vec::new(), raw: None }
    }
}

/// An entity without a span.
#[derive(Serialize)]
struct Ungrounded {
    text: String,
    entity_type: String,
}

pub(crate) fn run(args: &PredictArgs, out: &mut dyn Write) -> Result<Ending> {
    let types = types(args)?;
    if let Some(input) = &args.files.input {
        return files::run(args, input, &types);
    }
    ensure!(!types.is_empty(), "name the entity types to find, such as `--types person,city`");
    let text = args.text.as_deref().unwrap_or_default();
    let types: Vec<&str> = types.iter().map(String::as_str).collect();
    let predictor = model::load(&args.model, &args.options)?.with_sampling((&args.sampling).into());
    let finds_entities = mission::of(predictor.template()).arity() == 1;
    let mut found = if predictor.is_grounded() && finds_entities && !args.raw {
        grounded(&predictor, text, &types)?
    } else {
        answered(&predictor, text, &types, args.raw)?
    };
    let is_probable = |probability: Option<f64>| probability.is_none_or(|p| p >= args.threshold);
    found.entities.retain(|found| is_probable(found.probability));
    found.relations.retain(|found| is_probable(found.probability));
    let entities = found.entities.iter_mut().map(|found| &mut found.probability);
    let relations = found.relations.iter_mut().map(|found| &mut found.probability);
    for probability in entities.chain(relations) {
        // More digits are noise.
        *probability = probability.map(|p| (p * 1e4).round() / 1e4);
    }
    writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
    Ok(Ending::Done)
}

/// The entities of a text of any length.
fn grounded<'a>(predictor: &Predictor, text: &'a str, types: &[&str]) -> Result<Found<'a>> {
    let entity = |found: PredictedEntity| {
        let PredictedEntity { entity_type, text, span, probability, .. } = found;
        FoundEntity { entity: Entity { text, entity_type, span: Some(span) }, probability }
    };
    let entities = predictor.predict(text, types)?.into_iter().map(entity).collect();
    Ok(Found { entities, ..Found::of(text) })
}

/// The answers as the model wrote them.
fn answered<'a>(
    predictor: &Predictor,
    text: &'a str,
    types: &[&'a str],
    raw: bool,
) -> Result<Found<'a>> {
    let query = |&entity_type| Query { text, entity_type, dataset: None };
    let queries: Vec<Query> = types.iter().map(query).collect();
    let responses = predictor.answer(&queries, |_| ControlFlow::Continue(()))?;
    let answers = || types.iter().copied().zip(&responses);
    let malformed =
        answers().filter(|(_, response)| !response.well_formed).map(|(name, _)| name).collect();
    let raw = raw.then(|| answers().map(|(name, response)| (name, response.raw.clone())).collect());
    let all = responses.iter().flat_map(|response| response.entities.iter().cloned());
    let (mut entities, others): (Vec<FoundEntity>, Vec<FoundEntity>) =
        all.partition(|found| found.entity.span.is_some());
    entities.sort_by_key(|found| found.entity.span);
    let ungrounded = others.into_iter().map(|FoundEntity { entity, .. }| Ungrounded {
        text: entity.text,
        entity_type: entity.entity_type,
    });
    let relations = responses.iter().flat_map(|response| response.relations.iter().cloned());
    let (ungrounded, relations) = (ungrounded.collect(), relations.collect());
    Ok(Found { entities, relations, ungrounded, malformed, raw, ..Found::of(text) })
}

/// The types to query, each once.
fn types(args: &PredictArgs) -> Result<Vec<String>> {
    let listed = match &args.types_file {
        Some(file) => regular::read_to_string(file)?,
        None => String::new(),
    };
    // Chinese and Japanese commas separate types, too.
    let split = args.types.iter().flat_map(|names| names.split(['、', '，']));
    let named = split.chain(args.one_type.iter().map(String::as_str)).map(str::trim);
    let in_file = listed.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut types: Vec<String> = Vec::new();
    for name in named.chain(in_file) {
        if name.is_empty() {
            bail!("an entity type is empty; name it in plain words, such as `--types person,city`");
        }
        if types.iter().any(|known| known == name) {
            tracing::warn!("`{name}` is named twice and asked once");
        } else {
            types.push(name.to_owned());
        }
    }
    Ok(types)
}
