//! Reads the official UniversalNER data: `Text: …`, an acknowledgement, then any number of
//! questions `What describes <type> in the text?`, each answered by a JSON list.

use serde::Deserialize;
use serde_json::Value;

use super::{AnsweredQuery, Records, example_from_queries, plain};
use crate::{
    DataError, Example, Problem,
    format::Conversations,
    lines::Input,
    reader::{Context, Reader},
};

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    id: Option<Value>,
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    from: Speaker,
    value: String,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    Human,
    Gpt,
}

pub(crate) struct ConversationReader {
    records: Records,
    merge: bool,
    /// The example that the next conversations may still extend.
    open: Option<Example>,
    /// An error after the open example, returned after it.
    error: Option<DataError>,
}

impl ConversationReader {
    pub(crate) fn new(format: &Conversations, input: Input) -> Self {
        Self {
            records: Records::new(format.container, input),
            merge: format.merge,
            open: None,
            error: None,
        }
    }

    fn single(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        let item = self.records.next(context)?;
        Some(item.and_then(|(line, item)| example(&item, line, context)))
    }

    fn merged(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        loop {
            match (self.single(context), self.open.as_mut()) {
                (Some(Ok(next)), Some(open)) if continues(open, &next) => {
                    open.entities.extend(next.entities);
                    open.queries.extend(next.queries);
                }
                (Some(Ok(next)), None) => self.open = Some(next),
                (Some(Ok(next)), Some(_)) => return self.open.replace(next).map(Ok),
                (Some(Err(error)), None) => return Some(Err(error)),
                (Some(Err(error)), Some(_)) => {
                    self.error = Some(error);
                    return self.open.take().map(Ok);
                }
                (None, _) => return self.open.take().map(Ok),
            }
        }
    }
}

fn continues(open: &Example, next: &Example) -> bool {
    open.text == next.text && next.queries.iter().all(|query| !open.queries.contains(query))
}

impl Reader for ConversationReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        if self.merge { self.merged(context) } else { self.single(context) }
    }
}

fn example(item: &Item, line: usize, context: &mut Context<'_>) -> Result<Example, DataError> {
    let id = item.id.as_ref().map_or_else(String::new, plain);
    let (text, answered) = parse(&item.conversations).map_err(|message| {
        context.malformed(line, Problem::Conversation(format!("conversation `{id}`: {message}")))
    })?;
    example_from_queries(id, text, answered, line, context)
}

fn parse(turns: &[Turn]) -> Result<(String, Vec<AnsweredQuery>), String> {
    for (index, turn) in turns.iter().enumerate() {
        let expected = if index % 2 == 0 { Speaker::Human } else { Speaker::Gpt };
        if turn.from != expected {
            return Err(if index == 0 {
                "it starts with the assistant (`gpt`); the user (`human`) must start".to_owned()
            } else {
                format!(
                    "turn {index} has the same `from` as the turn before it; `human` and `gpt` must alternate"
                )
            });
        }
    }
    let (pairs, rest) = turns.as_chunks::<2>();
    let Some(([first, _], queries)) = pairs.split_first().filter(|_| rest.is_empty()) else {
        return Err(format!(
            "it has {} turns; they must come in pairs, the passage first",
            turns.len()
        ));
    };
    let answered = queries.iter().map(|[query, answer]| parse_query(&query.value, &answer.value));
    Ok((passage(&first.value)?.to_owned(), answered.collect::<Result<_, _>>()?))
}

/// The passage of `Text: {passage}`. In supervised data, a line `Dataset: {name}` precedes it.
fn passage(turn: &str) -> Result<&str, String> {
    let after_dataset = turn.strip_prefix("Dataset: ").and_then(|rest| rest.split_once('\n'));
    let text = after_dataset.map_or(turn, |(_, text)| text.strip_prefix(' ').unwrap_or(text));
    text.strip_prefix("Text: ")
        .ok_or_else(|| "its first turn does not start with `Text: `".to_owned())
}

fn parse_query(query: &str, answer: &str) -> Result<AnsweredQuery, String> {
    let label = query
        .strip_prefix("What describes ")
        .and_then(|rest| rest.strip_suffix(" in the text?"))
        .ok_or_else(|| format!("`{query}` is not `What describes <type> in the text?`"))?;
    let mentions = serde_json::from_str(answer)
        .map_err(|_| format!("the answer `{answer}` to `{query}` is not a JSON list of strings"))?;
    Ok(AnsweredQuery { label: label.to_owned(), mentions })
}
