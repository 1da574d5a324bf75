//! Takes the keys of a JSON file, or of a table in it, one by one. The keys left at the end were
//! not read.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The keys of a table that were not taken yet.
pub(crate) struct Keys {
    /// Prefix of the keys in messages: empty, or the table's name and a dot.
    prefix: String,
    remaining: Map<String, Value>,
}

impl Keys {
    pub(crate) fn new(prefix: impl Into<String>, table: Map<String, Value>) -> Self {
        Self { prefix: prefix.into(), remaining: table }
    }

    /// Takes a value; `None` if the key is missing or null.
    ///
    /// # Errors
    /// Names the key and its value if the value has another type.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, String> {
        match self.remaining.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .map_err(|problem| format!("`{}{key}` is {value}: {problem}", self.prefix)),
        }
    }

    /// Takes a required value.
    ///
    /// # Errors
    /// As [`take`](Self::take); also names a missing key.
    pub(crate) fn need<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, String> {
        self.take(key)?.ok_or_else(|| format!("`{}{key}` is missing", self.prefix))
    }

    /// Takes a value that has two possible names.
    ///
    /// # Errors
    /// As [`take`](Self::take); also names both values if they differ.
    pub(crate) fn take_either<T>(&mut self, names: [&str; 2]) -> Result<Option<T>, String>
    where
        T: DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let [first, second] = [self.take::<T>(names[0])?, self.take::<T>(names[1])?];
        let [one, other] = names.map(|name| format!("{}{name}", self.prefix));
        agreed(&[&one, &other], first, second)
    }

    /// Takes a table; `None` if it is missing or empty.
    ///
    /// # Errors
    /// Names the key and its value if the value is not a table.
    pub(crate) fn table(&mut self, key: &str) -> Result<Option<Self>, String> {
        let table: Option<Map<String, Value>> = self.take(key)?;
        let prefix = format!("{}{key}.", self.prefix);
        Ok(table.filter(|table| !table.is_empty()).map(|table| Self::new(prefix, table)))
    }

    /// Refuses every key that has a value, was not taken and is not in `ignored`. Keys starting
    /// with `_` are accepted: they are private to transformers (a file's origin, how it was run).
    ///
    /// # Errors
    /// Names each refused key and its value.
    pub(crate) fn finish(self, ignored: &[&str]) -> Result<(), String> {
        let unsupported: Vec<String> = self
            .remaining
            .iter()
            .filter(|(key, value)| {
                !key.starts_with('_') && !is_nothing(value) && !ignored.contains(&key.as_str())
            })
            .map(|(key, value)| format!("`{}{key}` is {}", self.prefix, shortened(value)))
            .collect();
        if unsupported.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{}: not supported, and may change what the model computes",
            unsupported.join(", ")
        ))
    }
}

/// Returns the value that is present. If both are present, they must be equal.
pub(crate) fn agreed<T: PartialEq + std::fmt::Debug>(
    names: &[&str; 2],
    first: Option<T>,
    second: Option<T>,
) -> Result<Option<T>, String> {
    match (first, second) {
        (Some(first), Some(second)) if first != second => Err(format!(
            "`{}` is {first:?} and `{}` is {second:?}: they contradict each other",
            names[0], names[1]
        )),
        (first, second) => Ok(first.or(second)),
    }
}

/// Whether a value is null, false, 0 or empty.
pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(table) => table.is_empty(),
    }
}

/// Formats a value for a message, cut after 80 characters.
fn shortened(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
