//! Reads one query per record, from JSON Lines or one array: a passage, a type and the list of its
//! mentions (SLIMER's form of Pile-NER).

use serde_json::Value;

use super::{AnsweredQuery, Records, distinct::Distinct, example_from_queries};
use crate::{
    DataError, Example, Problem,
    format::Queries,
    lines::Input,
    reader::{Context, Reader},
};

pub(crate) struct QueryReader {
    keys: Queries,
    records: Records,
}

impl QueryReader {
    pub(crate) fn new(keys: Queries, input: Input) -> std::io::Result<Self> {
        Ok(Self { keys, records: Records::detect(input)? })
    }
}

impl Reader for QueryReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        Some(self.records.next(context)?.and_then(|(line, Distinct(row))| {
            let (text, query) = parse(&row, &self.keys)
                .map_err(|message| context.malformed(line, Problem::Json(message)))?;
            example_from_queries(String::new(), text, vec![query], line, context)
        }))
    }
}

fn parse(row: &Value, keys: &Queries) -> Result<(String, AnsweredQuery), String> {
    let string = |key: &str| {
        row.get(key)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| format!("the row has no string `{key}`"))
    };
    let mentions = match row.get(&keys.answer) {
        Some(Value::String(list)) => serde_json::from_str(list).ok(),
        Some(list) => serde_json::from_value(list.clone()).ok(),
        None => None,
    };
    let mentions = mentions.ok_or_else(|| format!("`{}` is not a list of strings", keys.answer))?;
    Ok((string(&keys.text)?, AnsweredQuery { label: string(&keys.label)?, mentions }))
}
