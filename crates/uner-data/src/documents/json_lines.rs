//! Documents as JSON objects, one a line.

use std::{path::Path, sync::Arc};

use serde_json::{Map, Value};

use super::{Document, DocumentOptions, plain::filled_lines, type_list, unreadable};
use crate::{
    DataError,
    json::{distinct::Distinct, python},
    lines::Input,
};

pub(super) fn rows(
    input: Input,
    file: Arc<Path>,
    options: DocumentOptions,
) -> impl Iterator<Item = Result<Document, DataError>> + Send {
    filled_lines(input, Arc::clone(&file)).map(move |line| {
        let (number, json) = line?;
        document(&json, number, &file, &options)
            .map_err(|message| unreadable(&file, number, message))
    })
}

/// The document of a line, or the problem of the line.
fn document(
    json: &str,
    line: usize,
    file: &Arc<Path>,
    options: &DocumentOptions,
) -> Result<Document, String> {
    let row = object(json)?;
    let text = value(&row, &options.text)?
        .as_str()
        .ok_or_else(|| format!("the value of `{}` is not a string", options.text))?
        .to_owned();
    let id = match &options.id {
        None => line.to_string(),
        Some(key) => match value(&row, key)? {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            other => return Err(format!("the id `{key}` is `{other}`, not a string or a number")),
        },
    };
    let types = match &options.types {
        None => None,
        Some(key) => type_list::of_value(value(&row, key)?)
            .map_err(|message| format!("the types `{key}`: {message}"))?,
    };
    let subset = match &options.subset {
        None => None,
        Some(key) => {
            let name = value(&row, key)?.as_str();
            Some(name.ok_or_else(|| format!("the subset `{key}` is not a string"))?.to_owned())
        }
    };
    Ok(Document { id, text, types, subset, file: file.clone(), line })
}

fn object(json: &str) -> Result<Map<String, Value>, String> {
    let strict = python::strict(json).map_err(|(_, message)| message)?;
    match serde_json::from_str(&strict) {
        Ok(Distinct(Value::Object(row))) => Ok(row),
        Ok(Distinct(Value::Array(_))) => Err(one_array("the line is a JSON array")),
        Ok(Distinct(other)) => Err(format!("`{other}` is not a JSON object")),
        Err(_) if strict.trim_start().starts_with('[') => {
            Err(one_array("the line starts a JSON array"))
        }
        Err(error) => Err(positioned(&error)),
    }
}

fn one_array(found: &str) -> String {
    format!("{found}, not an object; write one object a line: `jq -c '.[]'`")
}

/// The message of an error with its column: its line is always the first one.
fn positioned(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    format!("{message} in column {}", error.column())
}

/// The value of a key, or at a path of keys with dots between them.
fn value<'a>(row: &'a Map<String, Value>, key: &str) -> Result<&'a Value, String> {
    let inside = |(outer, inner): (&str, &str)| value(row.get(outer)?.as_object()?, inner).ok();
    row.get(key).or_else(|| key.split_once('.').and_then(inside)).ok_or_else(|| {
        let keys: Vec<String> = row.keys().map(|key| format!("`{key}`")).collect();
        format!("the row has no key `{key}`; its keys are {}", keys.join(", "))
    })
}
