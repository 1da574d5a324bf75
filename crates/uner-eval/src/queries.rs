//! Scores of a file of queries and a file of model outputs (`uner score --gold`).

use std::{collections::HashSet, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uner_data::{Span, align::align};

use crate::{
    EvalError, lines,
    official::{OfficialCounts, get_response, mentions},
    scores::{Counts, Query, Scores},
    semeval::Mention,
};

/// The result of [`score_queries`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryReport {
    /// The scores of all queries.
    #[serde(flatten)]
    pub scores: Scores,
    /// Gold answers that the released parser cannot read. It counts them as empty, and so does
    /// every score here.
    pub n_unreadable_gold: usize,
    /// Outputs that the released parser cannot read, also counted as empty.
    pub n_unreadable_pred: usize,
}

/// One item of the gold file.
#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    id: Option<Value>,
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    value: String,
}

/// One line of the predictions.
#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    id: Option<Value>,
    output: String,
}

/// Scores model outputs against the official evaluation files. `gold` is a JSON array of
/// `{"id", "conversations"}` with four turns (passage, acknowledgement, one query, gold answer).
/// `predictions` is JSON Lines of `{"output": "…"}` in the same order. (If both sides have an `id`,
/// they must agree.)
///
/// The official score only needs strings. For the other scores, the released parser reads the
/// strings of gold answer and output (without normalisation), and each string gets a span in the
/// passage: the k-th repeat in an answer gets the k-th occurrence. A predicted string without an
/// occurrence left has no span and can only be spurious. A gold string that is not in the passage
/// can only be missed, and is counted once. Consecutive queries for the same passage are scored
/// together, so that `exact`, `partial` and `ent_type` see entities found under a wrong type.
///
/// # Errors
/// A file cannot be read, is not such JSON, lacks `output`, or does not match the other file. The
/// error contains file and line.
pub fn score_queries(gold: &Path, predictions: &Path) -> Result<QueryReport, EvalError> {
    let items = read_items(gold)?;
    let outputs = read_outputs(predictions, &items)?;
    if items.len() != outputs.len() {
        return Err(EvalError::Count {
            gold_path: gold.to_owned(),
            predictions_path: predictions.to_owned(),
            gold: items.len(),
            predicted: outputs.len(),
        });
    }
    let mut counts = Counts::default();
    let (mut n_unreadable_gold, mut n_unreadable_pred) = (0, 0);
    let (mut passage, mut queries): (&str, Vec<Query>) = ("", Vec::new());
    for (item, output) in items.iter().zip(&outputs) {
        let [text, _, question, answer] = item.conversations.as_slice() else {
            unreachable!("`read_items` lets only four turns through")
        };
        let text = text.value.strip_prefix("Text: ").unwrap_or(&text.value);
        let entity_type = entity_type(&question.value);
        if text != passage || queries.iter().any(|earlier| earlier.entity_type == entity_type) {
            counts.add_passage(&queries);
            queries.clear();
            passage = text;
        }
        let response = get_response(output);
        let (gold, predicted) = (mentions(&answer.value), mentions(response));
        n_unreadable_gold += usize::from(gold.is_none());
        n_unreadable_pred += usize::from(predicted.is_none());
        let typed = |spans: Vec<Option<Span>>| {
            spans.into_iter().map(|span| Mention { span, entity_type }).collect()
        };
        queries.push(Query {
            entity_type,
            official: OfficialCounts::of_query(&answer.value, response),
            gold: typed(align_gold(passage, &gold.unwrap_or_default())),
            predicted: typed(align(passage, &predicted.unwrap_or_default())),
        });
    }
    counts.add_passage(&queries);
    Ok(QueryReport { scores: counts.scores(), n_unreadable_gold, n_unreadable_pred })
}

/// The spans of gold mentions. A repeated mention without a further occurrence in the passage is
/// dropped, since it is not another entity.
fn align_gold(passage: &str, mentions: &[String]) -> Vec<Option<Span>> {
    let mut given = HashSet::new();
    mentions
        .iter()
        .zip(align(passage, mentions))
        .filter(|(mention, span)| given.insert(*mention) || span.is_some())
        .map(|(_, span)| span)
        .collect()
}

/// The type that a question asks for. A question of another form is its own type.
fn entity_type(question: &str) -> &str {
    question
        .strip_prefix("What describes ")
        .and_then(|rest| rest.strip_suffix(" in the text?"))
        .unwrap_or(question)
}

/// An id as text; some files have strings, others numbers.
fn plain(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

fn read_items(path: &Path) -> Result<Vec<Item>, EvalError> {
    let text = uner_data::regular::read_to_string(path)?;
    let items: Vec<Item> =
        lines::from_python(text.trim_start_matches(lines::MARK)).map_err(|error| {
            EvalError::Line {
                path: path.to_owned(),
                line: error.line(),
                problem: format!(
                    "{error}; expected an array of `{{\"id\": …, \"conversations\": [four turns]}}`"
                ),
            }
        })?;
    for (index, item) in items.iter().enumerate() {
        if item.conversations.len() != 4 {
            return Err(EvalError::Item {
                path: path.to_owned(),
                item: index + 1,
                id: item.id.as_ref().map(plain).unwrap_or_default(),
                turns: item.conversations.len(),
            });
        }
    }
    Ok(items)
}

fn read_outputs(path: &Path, items: &[Item]) -> Result<Vec<String>, EvalError> {
    let mut outputs = Vec::new();
    for line in lines::read(path, "`{\"output\": \"…\"}`")? {
        let (place, Output { id, output }) = line?;
        let asked = items.get(outputs.len()).and_then(|item| item.id.as_ref()).map(plain);
        if let (Some(asked), Some(answered)) = (asked, id.as_ref().map(plain))
            && asked != answered
        {
            return Err(place.error(format!(
                "the prediction is for `{answered}` but the query at its position is `{asked}`: keep the order of the queries"
            )));
        }
        outputs.push(output);
    }
    Ok(outputs)
}

#[cfg(test)]
#[path = "queries_tests.rs"]
mod tests;
