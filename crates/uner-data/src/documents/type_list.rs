//! The entity types of one document.

use serde_json::Value;

/// The types in a value: a list of strings, or a string as in [`of_cell`]. `None` for `null` and
/// for a blank string. Types are trimmed and not repeated.
pub(super) fn of_value(value: &Value) -> Result<Option<Vec<String>>, String> {
    let expected = || format!("`{value}` is not a list of strings");
    match value {
        Value::Null => Ok(None),
        Value::String(cell) => of_cell(cell),
        Value::Array(names) => {
            let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
            distinct(names.ok_or_else(expected)?.into_iter()).map(Some)
        }
        _ => Err(expected()),
    }
}

/// The types in a cell: a list of strings as JSON, or names separated by `;`.
pub(super) fn of_cell(cell: &str) -> Result<Option<Vec<String>>, String> {
    if cell.trim().is_empty() {
        return Ok(None);
    }
    if cell.trim_start().starts_with('[') {
        let names: Vec<String> = serde_json::from_str(cell)
            .map_err(|_| format!("`{cell}` starts like a JSON list of strings but is none"))?;
        return distinct(names.iter().map(String::as_str)).map(Some);
    }
    distinct(cell.split(';').filter(|name| !name.trim().is_empty())).map(Some)
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let mut found: Vec<String> = Vec::new();
    for name in names.map(str::trim) {
        if name.is_empty() {
            return Err("a type has no name".to_owned());
        }
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}
