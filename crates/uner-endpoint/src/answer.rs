//! Answers, as read from the response of an endpoint or from the journal.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Tokens as an endpoint counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the answer, those of hidden reasoning included.
    pub output: u64,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text of the first choice; empty if the endpoint returned none.
    pub text: String,
    /// Why the answer ended: `stop`, `length` (it was cut off), `content_filter`, …
    pub finish_reason: Option<String>,
    /// Tokens; `None` if the endpoint does not report them.
    pub tokens: Option<Tokens>,
    /// The model that answered, which may be more exact than the name in the request.
    pub model: Option<String>,
    /// When the answer came, in seconds since 1970 (UTC).
    pub time: u64,
    /// Duration of the attempt that was answered.
    pub latency: Duration,
    /// Whether it was read from the journal, or was the answer to the same request in this run.
    pub cached: bool,
}

impl Answer {
    /// Reads a response. Its time and latency are 0.
    ///
    /// # Errors
    /// What is missing, if it is not a chat completion.
    pub(crate) fn read(response: &Value) -> Result<Self, String> {
        let choice = &response["choices"][0];
        if !choice.is_object() {
            return Err("it has no `choices`".to_owned());
        }
        let message = &choice["message"];
        if !message.is_object() {
            return Err("its first choice has no `message`".to_owned());
        }
        // Without content, a message has a refusal or calls of tools.
        let text = match &message["content"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => return Err("the `content` of its message is not a text".to_owned()),
        };
        let string = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            text,
            finish_reason: string(&choice["finish_reason"]),
            tokens: tokens(&response["usage"]),
            model: string(&response["model"]),
            time: 0,
            latency: Duration::ZERO,
            cached: false,
        })
    }

    /// Whether the answer was cut off at the limit of tokens.
    pub fn is_cut_off(&self) -> bool {
        self.finish_reason.as_deref() == Some("length")
    }
}

fn tokens(usage: &Value) -> Option<Tokens> {
    let input = usage["prompt_tokens"].as_u64()?;
    let output = usage["completion_tokens"].as_u64();
    let total = usage["total_tokens"].as_u64();
    Some(Tokens { input, output: output.or(total.map(|total| total.saturating_sub(input)))? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn responses_of_several_servers_are_read() {
        let openai = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "[]", "refusal": null},
                         "finish_reason": "length"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
        });
        let answer = Answer::read(&openai).unwrap();
        assert_eq!(
            (&*answer.text, answer.model.as_deref()),
            ("[]", Some("gpt-4o-mini-2024-07-18"))
        );
        assert_eq!(answer.tokens, Some(Tokens { input: 9, output: 1 }));
        assert!(answer.is_cut_off());
        let without_usage = json!({"choices": [{"message": {"content": "a"}}], "usage": null});
        assert_eq!(Answer::read(&without_usage).unwrap().tokens, None);
        let parts = json!({"choices": [{"message": {"content": [{"type": "text", "text": "a"}]}}]});
        assert_eq!(Answer::read(&parts).unwrap().text, "a");
        let refusal = json!({"choices": [{"message": {"content": null, "refusal": "no"}}]});
        assert_eq!(Answer::read(&refusal).unwrap().text, "");
    }

    #[test]
    fn other_values_are_refused() {
        assert_eq!(Answer::read(&json!([])).unwrap_err(), "it has no `choices`");
        assert_eq!(Answer::read(&json!({"choices": []})).unwrap_err(), "it has no `choices`");
        let text = json!({"choices": [{"text": "completion, not chat"}]});
        assert_eq!(Answer::read(&text).unwrap_err(), "its first choice has no `message`");
        let number = json!({"choices": [{"message": {"content": 1}}]});
        assert_eq!(
            Answer::read(&number).unwrap_err(),
            "the `content` of its message is not a text"
        );
    }

    #[test]
    fn totals_replace_a_missing_count() {
        let usage = json!({"prompt_tokens": 5, "total_tokens": 8});
        assert_eq!(tokens(&usage), Some(Tokens { input: 5, output: 3 }));
        assert_eq!(tokens(&json!({"prompt_tokens": 5})), None);
    }
}
