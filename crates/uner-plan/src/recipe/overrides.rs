//! `--set key=value`.

use std::fmt;
use std::str::FromStr;

use toml::{Table, Value};

/// A key of the recipe and its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The parts of its key.
    pub(super) key: Vec<String>,
    value: String,
}

/// Most parts of a key; no section is as deep.
const DEEPEST: usize = 16;

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or("write it as `key=value`, such as `train.lr=1e-5`")?;
        let key: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if key.len() < 2 || key.len() > DEEPEST || key.iter().any(String::is_empty) {
            return Err("the key must be a section and a name, such as `train.lr`".to_owned());
        }
        Ok(Self { key, value: value.trim().to_owned() })
    }
}

impl Override {
    /// Whether it sets this key, such as `train.lr`.
    pub fn sets(&self, key: &str) -> bool {
        self.key.join(".") == key
    }
}

impl fmt::Display for Override {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "--set {}={}", self.key.join("."), self.value)
    }
}

/// How the text of an override is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// As TOML: `1e-5`, `true`, `[…]`; anything else is text.
    Toml,
    /// As text, for keys whose type is text: `run.dir=2024` needs no quotes.
    Text,
}

impl Override {
    /// Whether the value is text even when it is read as TOML.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.read(Reading::Toml), Value::String(_))
    }

    fn read(&self, reading: Reading) -> Value {
        let text = || Value::String(self.value.clone());
        if reading == Reading::Text {
            return text();
        }
        let parsed = toml::from_str::<Table>(&format!("value = {}", self.value));
        parsed.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(text)
    }

    /// Writes the value into the recipe, and creates its section if that is missing.
    pub(super) fn apply(&self, recipe: &mut Table, reading: Reading) {
        let Some((name, sections)) = self.key.split_last() else { return };
        let mut table = recipe;
        for section in sections {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            let Value::Table(inner) = inner else { return };
            table = inner;
        }
        table.insert(name.clone(), self.read(reading));
    }
}
