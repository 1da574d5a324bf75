//! `uner predict`: the entities of a text, as JSON.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::Result;
use serde::Serialize;
use uner_data::Entity;
use uner_infer::Query;

use crate::args::PredictArgs;
use crate::model_folder::Asked;

/// What is printed.
#[derive(Serialize)]
struct Found<'a> {
    text: &'a str,
    /// In text order; those that do not occur in the text have no span and come last.
    entities: Vec<Entity>,
    /// Types whose answer was not a whole JSON list; what could be read of it is among the entities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    malformed: Vec<&'a str>,
}

pub(crate) fn run(args: &PredictArgs, out: &mut dyn Write) -> Result<()> {
    let asked = Asked::load(&args.model)?;
    let types: Vec<&str> =
        args.types.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    let query = |&entity_type| Query { text: &args.text, entity_type, dataset: None };
    let queries: Vec<Query> = types.iter().map(query).collect();
    let responses = asked.predictor().answer(&queries, |_| ControlFlow::Continue(()))?;
    let unread = types.iter().zip(&responses).filter(|(_, response)| !response.well_formed);
    let malformed = unread.map(|(name, _)| *name).collect();
    let mut entities: Vec<Entity> = responses.into_iter().flat_map(|response| response.entities).collect();
    entities.sort_by_key(|entity| (entity.span.is_none(), entity.span));
    writeln!(out, "{}", serde_json::to_string_pretty(&Found { text: &args.text, entities, malformed })?)?;
    Ok(())
}
