//! What follows from a response: an answer, another attempt, a failure, or the end of the run.

use serde_json::Value;

use crate::answer::Answer;
use crate::config::Endpoint;
use crate::error::{EndpointError, Problem};

/// Longest text of an endpoint in our messages, in characters.
const MAX_MESSAGE: usize = 400;
/// Parts of the messages in which servers say that a prompt is too long, in lower case.
const TOO_LONG: [&str; 8] = [
    "context length",
    "context size",
    "context window",
    "context_length",
    "maximum number of tokens",
    "prompt is too long",
    "prompt too long",
    "exceeds the available context",
];

/// What follows from a response.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The answer, without time and latency, and the raw response.
    Answered(Answer, Value),
    /// Another attempt may succeed.
    Retry(Problem),
    /// No attempt will succeed.
    Failed(Problem),
    /// No request will succeed.
    Denied(EndpointError),
}

/// An error as a server describes it.
struct Described {
    message: String,
    /// Its `code` and `type`.
    labels: Vec<String>,
    /// The status, if the description has its own.
    status: Option<u16>,
}

/// Judges a response by its status and body.
pub(crate) fn verdict(endpoint: &Endpoint, status: u16, body: &str) -> Verdict {
    let parsed = serde_json::from_str::<Value>(body);
    if (200..300).contains(&status) {
        return match parsed {
            Ok(value) => of_success(endpoint, value),
            Err(error) => Verdict::Retry(Problem::Malformed(format!("{error}: {}", short(body)))),
        };
    }
    let described = parsed.ok().and_then(|value| describe(&value));
    let plain = || Described { message: short(body), labels: Vec::new(), status: None };
    of_error(endpoint, status, described.unwrap_or_else(plain))
}

/// Some gateways return errors with status 200.
fn of_success(endpoint: &Endpoint, value: Value) -> Verdict {
    let has_choices = value.get("choices").is_some_and(Value::is_array);
    if !has_choices && let Some(described) = describe(&value) {
        let status = described.status.unwrap_or(500);
        return of_error(endpoint, status, described);
    }
    match Answer::read(&value) {
        Ok(answer) => Verdict::Answered(answer, value),
        Err(problem) => Verdict::Retry(Problem::Malformed(problem)),
    }
}

fn of_error(endpoint: &Endpoint, status: u16, described: Described) -> Verdict {
    let Described { message, labels, .. } = described;
    let text = format!("{} {}", labels.join(" "), message).to_lowercase();
    if TOO_LONG.iter().any(|part| text.contains(part)) || text.contains("exceed_context_size") {
        return Verdict::Failed(Problem::ContextLength(message));
    }
    // A used-up quota has the status of a short limit, but does not pass.
    let is_permanent = labels.iter().any(|label| label == "insufficient_quota");
    match status {
        _ if is_permanent => denied(endpoint, status, message),
        408 | 409 | 425 | 429 | 500.. => Verdict::Retry(Problem::Unavailable { status, message }),
        300..=399 | 401..=405 => denied(endpoint, status, message),
        _ => Verdict::Failed(Problem::Refused { status, message }),
    }
}

fn denied(endpoint: &Endpoint, status: u16, message: String) -> Verdict {
    let (url, model) = (endpoint.base().to_owned(), endpoint.model.clone());
    Verdict::Denied(EndpointError::Denied { url, model, status, message })
}

/// Reads the description of an error: `{"error": {"message": …}}` (OpenAI, llama.cpp),
/// `{"error": "…"}` (Ollama), `{"object": "error", "message": …}` (vLLM), `{"detail": …}`
/// (frameworks).
fn describe(value: &Value) -> Option<Described> {
    let error = match &value["error"] {
        Value::Null if value["message"].is_string() => value,
        Value::Null => &value["detail"],
        error => error,
    };
    let message = match error {
        Value::Null => return None,
        Value::String(message) => message.clone(),
        Value::Object(object) => match object.get("message") {
            Some(Value::String(message)) => message.clone(),
            _ => error.to_string(),
        },
        other => other.to_string(),
    };
    let labels = ["code", "type"].iter().filter_map(|key| error[*key].as_str());
    let code = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    Some(Described {
        message: short(&message),
        labels: labels.map(str::to_owned).collect(),
        status: code.filter(|code| (300..600).contains(code)),
    })
}

/// A text on one line, cut to a readable length.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "no message".to_owned();
    }
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Verdict {
        verdict(&Endpoint::new("http://h/v1", "m"), status, body)
    }

    #[test]
    fn errors_of_several_servers_are_read() {
        for (status, body, expected) in [
            (400, r#"{"error":{"message":"bad seed","type":"invalid_request_error"}}"#, "bad seed"),
            (422, r#"{"detail":[{"msg":"x"}]}"#, r#"[{"msg":"x"}]"#),
            (400, r#"{"object":"error","message":"no","code":400}"#, "no"),
            (400, r#"{"error":"model is loading"}"#, "model is loading"),
            (400, "<html>\n  oops</html>", "<html> oops</html>"),
            (418, "", "no message"),
        ] {
            let Verdict::Failed(Problem::Refused { message, .. }) = of(status, body) else {
                panic!("{body}")
            };
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn long_prompts_are_recognised() {
        for body in [
            r#"{"error":{"message":"This model's maximum context length is 16385 tokens.","code":"context_length_exceeded"}}"#,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens","code":400}"#,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
            r#"{"error":"the input length exceeds the context length"}"#,
        ] {
            for status in [400, 500] {
                assert!(
                    matches!(of(status, body), Verdict::Failed(Problem::ContextLength(_))),
                    "{body}"
                );
            }
        }
    }

    #[test]
    fn statuses_decide() {
        for status in [408, 409, 429, 500, 502, 503, 529] {
            assert!(matches!(of(status, ""), Verdict::Retry(_)), "{status}");
        }
        for status in [301, 308, 401, 403, 404] {
            assert!(matches!(of(status, ""), Verdict::Denied(_)), "{status}");
        }
        for status in [400, 413, 422] {
            assert!(matches!(of(status, ""), Verdict::Failed(_)), "{status}");
        }
        let quota =
            r#"{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}"#;
        assert!(matches!(of(429, quota), Verdict::Denied(_)));
    }

    #[test]
    fn a_success_must_have_an_answer() {
        assert!(matches!(
            of(200, r#"{"choices":[{"message":{"content":"a"}}]}"#),
            Verdict::Answered(..)
        ));
        assert!(matches!(of(200, "{\"choices\":["), Verdict::Retry(Problem::Malformed(_))));
        assert!(matches!(of(200, "{}"), Verdict::Retry(Problem::Malformed(_))));
        let gateway = r#"{"error":{"message":"provider is down","code":502}}"#;
        assert!(matches!(
            of(200, gateway),
            Verdict::Retry(Problem::Unavailable { status: 502, .. })
        ));
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(short(&"é".repeat(500)).chars().count(), MAX_MESSAGE + 1);
    }
}
