//! `uner predict`: the entities of a text, as JSON.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use indexmap::IndexMap;
use serde::Serialize;
use uner_data::Entity;
use uner_infer::Query;

use crate::args::PredictArgs;
use crate::model::model_folder;

/// The result that is printed.
#[derive(Serialize)]
struct Found<'a> {
    text: &'a str,
    /// In text order.
    entities: Vec<Entity>,
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

/// An entity without a span.
#[derive(Serialize)]
struct Ungrounded {
    text: String,
    entity_type: String,
}

pub(crate) fn run(args: &PredictArgs, out: &mut dyn Write) -> Result<()> {
    let types = types(args)?;
    let predictor = model_folder::load(&args.model)?;
    let query = |&entity_type| Query { text: &args.text, entity_type, dataset: None };
    let queries: Vec<Query> = types.iter().map(query).collect();
    let responses = predictor.answer(&queries, |_| ControlFlow::Continue(()))?;
    let answers = || types.iter().copied().zip(&responses);
    let malformed =
        answers().filter(|(_, response)| !response.well_formed).map(|(name, _)| name).collect();
    let raw =
        args.raw.then(|| answers().map(|(name, response)| (name, response.raw.clone())).collect());
    let all = responses.iter().flat_map(|response| response.entities.iter().cloned());
    let (mut entities, others): (Vec<Entity>, Vec<Entity>) =
        all.partition(|entity| entity.span.is_some());
    entities.sort_by_key(|entity| entity.span);
    let ungrounded =
        others.into_iter().map(|Entity { text, entity_type, .. }| Ungrounded { text, entity_type });
    let found =
        Found { text: &args.text, entities, ungrounded: ungrounded.collect(), malformed, raw };
    writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
    Ok(())
}

/// The types to query, each once.
fn types(args: &PredictArgs) -> Result<Vec<&str>> {
    let mut types: Vec<&str> = Vec::new();
    // Chinese and Japanese commas separate types, too.
    let listed = args.types.iter().flat_map(|names| names.split(['、', '，']));
    for name in listed.chain(args.one_type.iter().map(String::as_str)).map(str::trim) {
        ensure!(
            !name.is_empty(),
            "an entity type is empty; name it in plain words, such as `--types person,city`"
        );
        if types.contains(&name) {
            tracing::warn!("`{name}` is named twice and asked once");
        } else {
            types.push(name);
        }
    }
    Ok(types)
}
