//! The key of an endpoint. It is sent to the endpoint, and shown nowhere else.

use std::fmt;

use ureq::http::HeaderValue;

use crate::error::EndpointError;

const REDACTED: &str = "[redacted]";
/// Shorter keys are placeholders, such as `ollama` or `EMPTY`: they are not secret, and are words
/// that answers may contain.
const SHORTEST: usize = 16;

/// A key, or none.
#[derive(Clone, Default)]
pub(crate) struct Secret(Option<(String, HeaderValue)>);

impl Secret {
    /// Reads the key from an environment variable.
    pub(crate) fn read(variable: Option<&str>) -> Result<Self, EndpointError> {
        let Some(variable) = variable else { return Ok(Self(None)) };
        let wrong = |problem| EndpointError::Key { variable: variable.to_owned(), problem };
        let value = std::env::var(variable).map_err(|error| match error {
            std::env::VarError::NotPresent => {
                wrong("is not set; set it, or remove `api_key_env` if the endpoint needs no key")
            }
            std::env::VarError::NotUnicode(_) => wrong("is not UTF-8; set it to the key"),
        })?;
        Self::new(&value).map_err(wrong)
    }

    fn new(value: &str) -> Result<Self, &'static str> {
        let key = value.trim();
        if key.is_empty() {
            return Err("is empty; set it to the key");
        }
        let invalid = "has characters that no HTTP header may have; set it to the key";
        let mut header = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| invalid)?;
        // Sensitive values are not shown by the HTTP library either.
        header.set_sensitive(true);
        Ok(Self(Some((key.to_owned(), header))))
    }

    /// The value of the header `Authorization`.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        self.0.as_ref().map(|(_, header)| header.clone())
    }

    /// A text from elsewhere without the key, which an endpoint may repeat.
    pub(crate) fn redact(&self, text: String) -> String {
        match &self.0 {
            Some((key, _)) if key.len() >= SHORTEST && text.contains(key) => {
                text.replace(key, REDACTED)
            }
            _ => text,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { REDACTED } else { "none" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let secret = Secret::new(" sk-0123456789abcdef\n").unwrap();
        assert_eq!(secret.header().unwrap(), "Bearer sk-0123456789abcdef");
        assert_eq!(format!("{secret:?}"), REDACTED);
        assert!(!format!("{:?}", secret.header()).contains("0123"));
        let echoed = secret.redact("wrong key sk-0123456789abcdef.".to_owned());
        assert_eq!(echoed, "wrong key [redacted].");
    }

    #[test]
    fn placeholders_stay_in_answers() {
        let secret = Secret::new("ollama").unwrap();
        assert_eq!(secret.redact("ollama is a program".to_owned()), "ollama is a program");
    }

    #[test]
    fn unusable_keys_are_named_by_their_variable() {
        assert_eq!(Secret::new(" ").unwrap_err(), "is empty; set it to the key");
        assert!(Secret::new("a\nb").unwrap_err().contains("no HTTP header"));
        let error = Secret::read(Some("UNER_NO_SUCH_KEY")).unwrap_err().to_string();
        assert!(error.contains("`UNER_NO_SUCH_KEY` is not set"), "{error}");
    }
}
