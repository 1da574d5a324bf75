//! Requests: messages, the body that is sent, and the key that names its answer in the journal.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::answer::{Answer, Tokens};
use crate::config::Endpoint;
use crate::usage::quarter_of_characters;

/// The side that speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    /// The instruction before the conversation.
    System,
    /// The side that asks.
    User,
    /// The model.
    Assistant,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// The side that speaks.
    pub role: ChatRole,
    /// The text.
    pub content: String,
}

/// A chat that the endpoint continues by one message.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// The messages, in order.
    pub messages: Vec<ChatMessage>,
    /// Further keys of the body, such as `response_format` or `seed`. They replace those of
    /// [`Endpoint`]. To have several answers to the same messages, give each another `seed`:
    /// requests with the same body share one answer.
    pub extra: Map<String, Value>,
}

impl ChatMessage {
    /// A message.
    pub fn new(role: ChatRole, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

impl Request {
    /// A request with these messages and nothing else.
    pub fn new(messages: Vec<ChatMessage>) -> Self {
        Self { messages, extra: Map::new() }
    }
}

/// SHA-256 of the URL, the model and the body: it names an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key([u8; 32]);

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) key: Key,
    /// The body, in JSON.
    pub(crate) body: String,
    /// Estimated tokens of the prompt.
    pub(crate) input: u64,
    /// Most tokens of the answer; 0 if they are not limited.
    pub(crate) output: u64,
}

impl Prepared {
    /// The request for an endpoint.
    pub(crate) fn new(endpoint: &Endpoint, request: &Request) -> Self {
        /// Tokens that a chat template adds to a message.
        const AROUND: u64 = 4;
        let body = Value::Object(body(endpoint, request));
        let of_message = |message: &ChatMessage| quarter_of_characters(&message.content) + AROUND;
        let limits = ["max_tokens", "max_completion_tokens"].map(|key| body[key].as_u64());
        Self {
            key: Key::new(endpoint, &body),
            input: request.messages.iter().map(of_message).sum(),
            output: limits.into_iter().flatten().max().unwrap_or(0),
            body: body.to_string(),
        }
    }

    /// The tokens of an answer: the endpoint's, or an estimate if it reports none.
    pub(crate) fn counted(&self, answer: &Answer) -> Tokens {
        let output = || quarter_of_characters(&answer.text);
        answer.tokens.unwrap_or_else(|| Tokens { input: self.input, output: output() })
    }

    /// Estimated tokens of prompt and answer.
    pub(crate) fn tokens(&self) -> u64 {
        self.input + self.output
    }
}

fn body(endpoint: &Endpoint, request: &Request) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(endpoint.model));
    body.insert("messages".to_owned(), json!(request.messages));
    body.insert("temperature".to_owned(), json!(endpoint.temperature));
    let optional = [
        ("max_tokens", endpoint.max_tokens.map(Value::from)),
        ("seed", endpoint.seed.map(Value::from)),
        ("stop", (!endpoint.stop.is_empty()).then(|| json!(endpoint.stop))),
    ];
    body.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    body.extend(endpoint.extra.clone());
    body.extend(request.extra.clone());
    body.retain(|key, _| !endpoint.omit.contains(key));
    body
}

impl Key {
    fn new(endpoint: &Endpoint, body: &Value) -> Self {
        let named = json!([endpoint.base(), endpoint.model, sorted(body)]);
        Self(Sha256::digest(named.to_string()).into())
    }

    /// Reads the hexadecimal form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The value with the keys of all objects sorted: the order in which a recipe lists them does not
/// make another request.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> =
                object.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(endpoint: &Endpoint, request: &Request) -> Prepared {
        Prepared::new(endpoint, request)
    }

    #[test]
    fn the_body_has_what_is_set_and_no_more() {
        let mut endpoint = Endpoint::new("http://h/v1", "m");
        let request = Request::new(vec![ChatMessage::new(ChatRole::User, "Hi")]);
        let plain = prepared(&endpoint, &request);
        let expected =
            r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"temperature":0.0}"#;
        assert_eq!(plain.body, expected);
        assert_eq!((plain.input, plain.output), (5, 0));
        endpoint.omit = vec!["temperature".to_owned()];
        endpoint.max_tokens = Some(7);
        endpoint.stop = vec!["\n".to_owned()];
        let other = prepared(&endpoint, &request);
        assert!(other.body.ends_with(r#""max_tokens":7,"stop":["\n"]}"#), "{}", other.body);
        assert_eq!(other.tokens(), 12);
        assert_ne!(plain.key, other.key);
    }

    #[test]
    fn keys_depend_on_content_not_on_order() {
        let endpoint = Endpoint::new("http://h/v1", "m");
        let with = |keys: &[(&str, u32)]| {
            let extra = keys.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            prepared(&endpoint, &Request { messages: Vec::new(), extra }).key
        };
        assert_eq!(with(&[("seed", 1), ("top_k", 2)]), with(&[("top_k", 2), ("seed", 1)]));
        assert_ne!(with(&[("seed", 1)]), with(&[("seed", 2)]));
        let key = with(&[]);
        assert_eq!(Key::parse(&key.to_string()), Some(key));
        assert_eq!(Key::parse("zz"), None);
        let slash = Endpoint::new("http://h/v1/", "m");
        assert_eq!(prepared(&slash, &Request::default()).key, key);
        let model = Endpoint::new("http://h/v1", "other");
        assert_ne!(prepared(&model, &Request::default()).key, key);
    }
}
