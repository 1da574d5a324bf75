//! `tokenizer_config.json`: which tokens are special.

use super::{SpacePrefix, TokenizerError, invalid};
use serde_json::{Map, Value};
use std::path::Path;

/// A `tokenizer_config.json`, kept whole so that saving gives it back.
pub(super) type Config = Map<String, Value>;

/// Name of the file.
pub(super) const FILE: &str = "tokenizer_config.json";

/// Ids of the special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpecialIds {
    pub(super) bos: u32,
    pub(super) eos: u32,
    pub(super) pad: u32,
}

/// The config in the folder of `path`; empty if there is none.
pub(super) fn read_beside(path: &Path) -> Result<Config, TokenizerError> {
    let path = path.with_file_name(FILE);
    match uner_data::regular::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| invalid(&path, error.to_string()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::new()),
        Err(error) => Err(error.into()),
    }
}

/// `legacy`, which transformers takes as true when it is not there.
pub(super) fn space_prefix(config: &Config) -> SpacePrefix {
    match config.get("legacy") {
        Some(Value::Bool(false)) => SpacePrefix::StartOnly,
        _ => SpacePrefix::EveryPiece,
    }
}

/// The text of a special token: a string, or an object with `content`.
pub(super) fn token<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    let value = config.get(key)?;
    value.as_str().or_else(|| value.get("content")?.as_str())
}
