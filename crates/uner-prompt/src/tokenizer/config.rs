//! `tokenizer_config.json`, which names the special tokens.

use super::{SpacePrefix, TokenizerError, invalid};
use serde_json::{Map, Value};
use std::path::Path;

/// The whole `tokenizer_config.json`, so that saving writes it unchanged.
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

/// Reads the configuration in the folder of `path`; empty if the file does not exist.
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

/// Reads `legacy`; its default is true, as in transformers.
pub(super) fn space_prefix(config: &Config) -> SpacePrefix {
    match config.get("legacy") {
        Some(Value::Bool(false)) => SpacePrefix::StartOnly,
        _ => SpacePrefix::EveryPiece,
    }
}

/// The text of a special token; its value is a string, or an object with `content`.
pub(super) fn token<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    let value = config.get(key)?;
    value.as_str().or_else(|| value.get("content")?.as_str())
}
