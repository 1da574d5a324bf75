//! Reads the chat template of a model folder.

use std::path::Path;

use uner_data::regular;

use super::ChatTemplate;
use crate::error::PromptError;

/// The files of a model folder that may contain its chat template. If both do, the first is used,
/// as in transformers.
const FILES: [&str; 2] = ["chat_template.jinja", "tokenizer_config.json"];

/// Reads the chat template of the model in a folder.
///
/// # Errors
/// The model has none, or a file cannot be read.
pub(crate) fn of_model(folder: &Path) -> Result<ChatTemplate, PromptError> {
    let [jinja, config] = FILES.map(|name| folder.join(name));
    let own = if jinja.exists() { regular::read_to_string(&jinja)? } else { String::new() };
    if !own.trim().is_empty() {
        return ChatTemplate::new(own).map_err(|problem| fault(&jinja, problem));
    }
    let text = if config.exists() { regular::read_to_string(&config)? } else { "{}".to_owned() };
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| fault(&config, error.to_string()))?;
    let named_default = |list: &Vec<serde_json::Value>| {
        let default = list.iter().find(|entry| entry["name"] == "default")?;
        default["template"].as_str().map(str::to_owned)
    };
    let found = match &value["chat_template"] {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(list) => named_default(list),
        _ => None,
    };
    let Some(source) = found.filter(|source| !source.trim().is_empty()) else {
        return Err(PromptError::Chat(format!(
            "`{}` has no chat template: neither `{}` nor a `chat_template` in `{}`; take another template, such as `zero-shot`",
            folder.display(),
            FILES[0],
            FILES[1]
        )));
    };
    ChatTemplate::new(source).map_err(|problem| fault(&config, problem))
}

fn fault(path: &Path, reason: String) -> PromptError {
    PromptError::Template { path: path.display().to_string(), reason }
}
