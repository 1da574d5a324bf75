//! The keys of a JSON file or of a table in it, taken one by one: what is left in the end was read
//! by nobody.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What is left of a table.
pub(crate) struct Keys {
    /// What the table is called in messages: empty, or its name and a dot.
    prefix: String,
    left: Map<String, Value>,
}

impl Keys {
    pub(crate) fn new(prefix: impl Into<String>, table: Map<String, Value>) -> Self {
        Self { prefix: prefix.into(), left: table }
    }

    /// A value; `None` where the key is missing or null.
    ///
    /// # Errors
    /// The key and its value, where it is of another type.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, String> {
        match self.left.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .map_err(|problem| format!("`{}{key}` is {value}: {problem}", self.prefix)),
        }
    }

    /// A value that has to be there.
    ///
    /// # Errors
    /// As [`take`](Self::take), and the key where it is missing.
    pub(crate) fn need<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, String> {
        self.take(key)?.ok_or_else(|| format!("`{}{key}` is missing", self.prefix))
    }

    /// A value that may go by either name.
    ///
    /// # Errors
    /// As [`take`](Self::take), and both values where they contradict each other.
    pub(crate) fn take_either<T>(&mut self, names: [&str; 2]) -> Result<Option<T>, String>
    where
        T: DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let [first, second] = [self.take::<T>(names[0])?, self.take::<T>(names[1])?];
        let [one, other] = names.map(|name| format!("{}{name}", self.prefix));
        agreed(&[&one, &other], first, second)
    }

    /// A table; none where it is empty.
    ///
    /// # Errors
    /// The key and its value, where it is no table.
    pub(crate) fn table(&mut self, key: &str) -> Result<Option<Self>, String> {
        let table: Option<Map<String, Value>> = self.take(key)?;
        let prefix = format!("{}{key}.", self.prefix);
        Ok(table.filter(|table| !table.is_empty()).map(|table| Self::new(prefix, table)))
    }

    /// Refuses every key that was not taken, is not among those that do `not_matter`, and has a
    /// value. Keys that begin with `_` are private to transformers: where a file came from, and how
    /// it was run.
    ///
    /// # Errors
    /// Each of them and its value.
    pub(crate) fn finish(self, not_matter: &[&str]) -> Result<(), String> {
        let told: Vec<String> = self
            .left
            .iter()
            .filter(|(key, value)| {
                !key.starts_with('_') && !is_nothing(value) && !not_matter.contains(&key.as_str())
            })
            .map(|(key, value)| format!("`{}{key}` is {}", self.prefix, shortened(value)))
            .collect();
        if told.is_empty() {
            return Ok(());
        }
        Err(format!("{}, and what that would change is not known here", told.join(", ")))
    }
}

/// The one of two values that is there, or both where they are equal.
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

/// Whether a value says that there is nothing.
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

/// A value for a message.
fn shortened(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
