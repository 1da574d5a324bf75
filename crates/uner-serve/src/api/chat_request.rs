//! A request for the next turn of a chat, in the protocol of OpenAI.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use uner_infer::engine::Sampling;
use uner_infer::{Chat, ChatOptions};
use uner_prompt::{Conversation, Message};
use utoipa::ToSchema;

use super::error::{ApiError, start};

/// Most stop texts of a request.
const MOST_STOPS: usize = 16;

/// A request for the next turn of a chat. Fields that it does not have are ignored, as other
/// servers do.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ChatRequest {
    /// The name of a model; the server's first if there is none.
    pub(super) model: Option<String>,
    /// The turns so far. The last one is the user's.
    messages: Vec<ChatMessage>,
    /// Longest text, in tokens. Limited by the model's window.
    max_tokens: Option<usize>,
    /// The same under its newer name.
    max_completion_tokens: Option<usize>,
    /// From 0, the default, which takes the most probable token, to 2.
    temperature: Option<f64>,
    /// Only the most probable tokens whose probabilities add up to this are drawn. Above 0, up to
    /// 1.
    top_p: Option<f64>,
    /// The same seed gives the same text.
    seed: Option<i64>,
    /// The text ends before the first of these.
    stop: Option<Stop>,
    /// Whether the text is sent piece by piece, as server-sent events.
    #[serde(default)]
    pub(super) stream: bool,
    /// Options of a stream.
    pub(super) stream_options: Option<StreamOptions>,
    /// Number of answers; only 1.
    n: Option<usize>,
    /// Not supported.
    #[schema(value_type = Option<Object>)]
    tools: Option<Vec<serde::de::IgnoredAny>>,
    /// Not supported.
    logprobs: Option<bool>,
}

/// A turn of a chat.
#[derive(Debug, Deserialize, ToSchema)]
struct ChatMessage {
    /// `system` (or `developer`), `user` or `assistant`.
    role: String,
    /// The text, or a list of texts, which are joined.
    content: Content,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a string or a list of `{\"type\": \"text\", \"text\": …}`")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize, ToSchema)]
struct Part {
    r#type: String,
    text: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a string or a list of strings")]
enum Stop {
    One(String),
    Many(Vec<String>),
}

/// Options of a stream.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct StreamOptions {
    /// Whether the last event has the number of tokens.
    #[serde(default)]
    pub(super) include_usage: bool,
}

impl ChatRequest {
    /// The chat for a model whose own system line is `system`.
    pub(super) fn chat(self, system: &str) -> Result<Chat, ApiError> {
        let unsupported = |param: &str, what: &str| {
            ApiError::invalid(param, format!("`{param}`: {what} is not supported; leave it out"))
        };
        if self.n.is_some_and(|n| n != 1) {
            return Err(unsupported("n", "more than one answer"));
        }
        if self.logprobs == Some(true) {
            return Err(unsupported("logprobs", "probabilities of tokens"));
        }
        if self.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
            return Err(unsupported("tools", "calling functions"));
        }
        let options = ChatOptions {
            max_new_tokens: Some(self.longest()?),
            sampling: Some(self.sampling()?),
            stop: stops(self.stop)?,
        };
        let (own_system, messages) = turns(self.messages)?;
        let system = own_system.unwrap_or_else(|| system.to_owned());
        Ok(Chat { system, conversation: Conversation { messages }, options })
    }

    fn longest(&self) -> Result<usize, ApiError> {
        let longest = self.max_completion_tokens.or(self.max_tokens).unwrap_or(usize::MAX);
        if longest == 0 {
            return Err(ApiError::invalid("max_tokens", "`max_tokens` is 0; allow at least 1"));
        }
        Ok(longest)
    }

    fn sampling(&self) -> Result<Sampling, ApiError> {
        let (temperature, top_p) = (self.temperature.unwrap_or(0.0), self.top_p.unwrap_or(1.0));
        if !(0.0..=2.0).contains(&temperature) {
            let message = format!("`temperature` is {temperature}; it is from 0 to 2");
            return Err(ApiError::invalid("temperature", message));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            let message = format!("`top_p` is {top_p}; it is above 0 and at most 1");
            return Err(ApiError::invalid("top_p", message));
        }
        // Below this, the most probable token is drawn anyway, and logits overflow.
        if temperature < 1e-3 {
            return Ok(Sampling::Greedy);
        }
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = self.seed.map_or_else(|| now().as_nanos() as u64, |seed| seed as u64);
        Ok(Sampling::Random { temperature, top_p, seed })
    }
}

fn stops(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    if stops.len() > MOST_STOPS || stops.iter().any(String::is_empty) {
        let message = format!("`stop` is one text, or up to {MOST_STOPS}, and none is empty");
        return Err(ApiError::invalid("stop", message));
    }
    Ok(stops)
}

/// The system line, if there is one, and the turns.
fn turns(messages: Vec<ChatMessage>) -> Result<(Option<String>, Vec<Message>), ApiError> {
    let (mut system, mut turns): (Option<String>, Vec<Message>) = (None, Vec::new());
    let mut last = String::new();
    for (index, ChatMessage { role, content }) in messages.into_iter().enumerate() {
        let text = text(content, index)?;
        match role.as_str() {
            "system" | "developer" => {
                system = Some(system.map_or_else(String::new, |line| line + "\n") + &text);
            }
            "user" => turns.push(Message::user(text)),
            "assistant" => turns.push(Message::assistant(text)),
            other => {
                let message = format!(
                    "the role `{}` is not supported; use `system`, `user` or `assistant`",
                    start(other)
                );
                return Err(ApiError::invalid(format!("messages[{index}].role"), message));
            }
        }
        last = role;
    }
    if last != "user" {
        let message = "the last message is not the user's; it is the one that is answered";
        return Err(ApiError::invalid("messages", message));
    }
    Ok((system, turns))
}

fn text(content: Content, index: usize) -> Result<String, ApiError> {
    let parts = match content {
        Content::Text(text) => return Ok(text),
        Content::Parts(parts) => parts,
    };
    if let Some(part) = parts.iter().find(|part| part.r#type != "text") {
        let message = format!("the part `{}` is not supported; send text", start(&part.r#type));
        return Err(ApiError::invalid(format!("messages[{index}].content"), message));
    }
    Ok(parts.into_iter().map(|part| part.text).collect())
}

#[cfg(test)]
mod tests {
    use super::super::body::parse;
    use super::*;

    fn chat(json: &str) -> Result<Chat, ApiError> {
        parse::<ChatRequest>(json.as_bytes()).and_then(|request| request.chat("Be brief."))
    }

    #[test]
    fn messages_become_turns() {
        let read = chat(
            r#"{"model": "m", "user": "someone", "messages": [
                {"role": "developer", "content": "A"}, {"role": "system", "content": "B"},
                {"role": "user", "content": [{"type": "text", "text": "x"},
                                             {"type": "text", "text": "y"}]},
                {"role": "assistant", "content": "z", "name": "n"},
                {"role": "user", "content": "w"}], "stop": "\n", "max_tokens": 5, "seed": -1,
                "temperature": 0.5}"#,
        );
        let read = read.unwrap();
        assert_eq!(read.system, "A\nB");
        let messages = [Message::user("xy"), Message::assistant("z"), Message::user("w")];
        assert_eq!(read.conversation.messages, messages);
        let sampling = Sampling::Random { temperature: 0.5, top_p: 1.0, seed: u64::MAX };
        let (sampling, stop) = (Some(sampling), vec!["\n".to_owned()]);
        assert_eq!(read.options, ChatOptions { max_new_tokens: Some(5), sampling, stop });
        let plain = chat(r#"{"messages": [{"role": "user", "content": "w"}]}"#).unwrap();
        assert_eq!(plain.system, "Be brief.");
        assert_eq!(plain.options.sampling, Some(Sampling::Greedy));
    }

    #[test]
    fn wrong_values_are_named() {
        let user = r#"{"role": "user", "content": "w"}"#;
        for (json, expected) in [
            (r#"{"messages": []}"#.to_owned(), "last message"),
            (format!(r#"{{"messages": [{user}], "n": 2}}"#), "`n`"),
            (format!(r#"{{"messages": [{user}], "temperature": 3}}"#), "`temperature` is 3"),
            (format!(r#"{{"messages": [{user}], "top_p": 0}}"#), "`top_p` is 0"),
            (format!(r#"{{"messages": [{user}], "stop": [""]}}"#), "`stop`"),
            (format!(r#"{{"messages": [{user}], "tools": [{{"type": "function"}}]}}"#), "`tools`"),
            (r#"{"messages": [{"role": "tool", "content": "w"}]}"#.to_owned(), "role `tool`"),
            (r#"{"messages": [{"role": "user", "content": 3}]}"#.to_owned(), "a string or a list"),
        ] {
            let problem = format!("{:?}", chat(&json).unwrap_err());
            assert!(problem.contains(expected), "{json}: {problem}");
        }
    }
}
