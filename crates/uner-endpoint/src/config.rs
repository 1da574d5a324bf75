//! The description of an endpoint: plain data, as a recipe writes it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::EndpointError;

/// Keys of a request body that the client sets itself.
const RESERVED: [&str; 4] = ["model", "messages", "stream", "n"];
/// Most requests in flight.
const MAX_CONCURRENCY: usize = 1024;

/// An endpoint that speaks the chat-completions protocol of OpenAI, and how to use it.
///
/// Only `url` and `model` are required. The key is not part of it: `api_key_env` names the
/// environment variable that has the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The base of the API, such as `https://api.openai.com/v1` or `http://localhost:11434/v1`.
    /// Requests are sent to `{url}/chat/completions`.
    pub url: String,
    /// The model's name, as the endpoint knows it.
    pub model: String,
    /// The environment variable with the key. Default: none, and no key is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// Most requests in flight. Default: 8.
    #[serde(default = "concurrency")]
    pub concurrency: usize,
    /// Most requests per minute, retries included. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Most tokens per minute, prompts and answers. A request counts with its estimate, until the
    /// endpoint reports its tokens. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// Longest time for one attempt, from connecting to the last byte. Default: 120.
    #[serde(default = "timeout_seconds")]
    pub timeout_seconds: u64,
    /// Most further attempts of one request. Default: 6, which waits about 16 s in total.
    #[serde(default = "max_retries")]
    pub max_retries: u32,
    /// A run ends after this many requests in succession that failed for other reasons than their
    /// length. Default: 10.
    #[serde(default = "max_consecutive_failures")]
    pub max_consecutive_failures: usize,
    /// Temperature of sampling. Default: 0, which is greedy.
    #[serde(default)]
    pub temperature: f64,
    /// Most tokens of an answer. Default: the endpoint's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Seed of sampling, for endpoints that have one. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Texts that end an answer. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Further keys of the request body, sent as they are. They replace the keys above.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// Keys of the request body that are left out, for endpoints that refuse them: some models
    /// accept no `temperature`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omit: Vec<String>,
    /// Prices of tokens. Default: free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
    /// Most money for all answers of this model in the journal, earlier runs included; needs
    /// `prices`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// Most tokens, prompts and answers, counted as `budget` counts money. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total_tokens: Option<u64>,
}

/// Prices in any unit of money.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Of a million tokens of prompts. Discounts for prompts that the endpoint has cached are not
    /// known to the client, so the money is an upper bound.
    pub input_per_million: f64,
    /// Of a million tokens of answers.
    pub output_per_million: f64,
}

fn concurrency() -> usize {
    8
}

fn timeout_seconds() -> u64 {
    120
}

fn max_retries() -> u32 {
    6
}

fn max_consecutive_failures() -> usize {
    10
}

impl Endpoint {
    /// A model at a base URL, with all defaults.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            api_key_env: None,
            concurrency: concurrency(),
            requests_per_minute: None,
            tokens_per_minute: None,
            timeout_seconds: timeout_seconds(),
            max_retries: max_retries(),
            max_consecutive_failures: max_consecutive_failures(),
            temperature: 0.0,
            max_tokens: None,
            seed: None,
            stop: Vec::new(),
            extra: Map::new(),
            omit: Vec::new(),
            prices: None,
            budget: None,
            max_total_tokens: None,
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`EndpointError::Config`] with the first key that has an unusable value.
    pub fn check(&self) -> Result<(), EndpointError> {
        check_url(&self.url)?;
        if self.model.is_empty() {
            return Err(wrong("model", "", "write the name of the model"));
        }
        if !(1..=MAX_CONCURRENCY).contains(&self.concurrency) {
            let range = format!("it must be from 1 to {MAX_CONCURRENCY}");
            return Err(wrong("concurrency", &self.concurrency.to_string(), &range));
        }
        let positive = [
            ("requests_per_minute", self.requests_per_minute.map(u64::from)),
            ("tokens_per_minute", self.tokens_per_minute.map(u64::from)),
            ("timeout_seconds", Some(self.timeout_seconds)),
            ("max_consecutive_failures", Some(self.max_consecutive_failures as u64)),
            ("max_tokens", self.max_tokens.map(u64::from)),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == Some(0)) {
            return Err(wrong(key, "0", "it must be at least 1"));
        }
        self.check_money()?;
        let listed = self.extra.keys().map(|key| ("extra", key));
        let omitted = self.omit.iter().map(|key| ("omit", key));
        match listed.chain(omitted).find(|(_, key)| RESERVED.contains(&key.as_str())) {
            Some((table, key)) => Err(wrong(table, key, "the client sets this key; remove it")),
            None => Ok(()),
        }
    }

    fn check_money(&self) -> Result<(), EndpointError> {
        let prices =
            self.prices.map(|prices| [prices.input_per_million, prices.output_per_million]);
        let [input, output] = prices.unwrap_or_default();
        let amounts = [
            ("temperature", self.temperature),
            ("prices.input_per_million", input),
            ("prices.output_per_million", output),
            ("budget", self.budget.unwrap_or_default()),
        ];
        let is_amount = |value: f64| value.is_finite() && value >= 0.0;
        if let Some((key, value)) = amounts.iter().find(|(_, value)| !is_amount(*value)) {
            return Err(wrong(key, &value.to_string(), "it must be a number from 0"));
        }
        match (self.budget, self.prices) {
            (Some(budget), None) => Err(wrong(
                "budget",
                &budget.to_string(),
                "it needs `prices`; add them, or set `max_total_tokens`",
            )),
            _ => Ok(()),
        }
    }

    /// The address that requests are sent to.
    pub(crate) fn address(&self) -> String {
        format!("{}/chat/completions", self.base())
    }

    /// The URL without a slash at its end, so that both ways to write it have the same answers.
    pub(crate) fn base(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// The host, without port, brackets and user.
    pub(crate) fn host(&self) -> &str {
        let authority = authority(&self.url);
        match authority.strip_prefix('[') {
            Some(ipv6) => ipv6.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        }
    }
}

/// The part of a URL between the scheme and the path.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// A URL with a user, a password or a query is refused without repeating it: it may have a key.
fn check_url(url: &str) -> Result<(), EndpointError> {
    let authority = authority(url);
    if authority.contains('@') || url.contains(['?', '#']) {
        let problem = "it must have no user, password, query or fragment; the key belongs into the \
                       variable that `api_key_env` names";
        return Err(wrong("url", "…", problem));
    }
    if authority.is_empty() || !(url.starts_with("http://") || url.starts_with("https://")) {
        return Err(wrong(
            "url",
            url,
            "write the base of the API, such as `http://localhost:8000/v1`",
        ));
    }
    match url.trim_end_matches('/').strip_suffix("/chat/completions") {
        Some(base) => Err(wrong("url", url, &format!("write only the base, `{base}`"))),
        None => Ok(()),
    }
}

fn wrong(key: &str, value: &str, problem: &str) -> EndpointError {
    let (key, value, problem) = (key.to_owned(), value.to_owned(), problem.to_owned());
    EndpointError::Config { key, value, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Endpoint)) -> String {
        let mut endpoint = Endpoint::new("http://localhost:8000/v1", "m");
        change(&mut endpoint);
        endpoint.check().expect_err("refused").to_string()
    }

    #[test]
    fn two_keys_are_enough_and_unknown_ones_are_refused() {
        let read = |text: &str| toml::from_str::<Endpoint>(text);
        let short = read("url = \"http://localhost:8000/v1\"\nmodel = \"m\"").unwrap();
        assert_eq!(short, Endpoint::new("http://localhost:8000/v1", "m"));
        short.check().unwrap();
        let written = toml::to_string(&short).unwrap();
        assert_eq!(read(&written).unwrap(), short);
        let error = read("url = \"http://a/v1\"\nmodel = \"m\"\napi_key = \"secret\"").unwrap_err();
        assert!(error.to_string().contains("`api_key`"), "{error}");
    }

    #[test]
    fn unusable_values_are_named() {
        assert_eq!(
            refused(|endpoint| endpoint.concurrency = 0),
            "`concurrency` of the endpoint is `0`: it must be from 1 to 1024"
        );
        assert!(refused(|endpoint| endpoint.budget = Some(1.0)).contains("needs `prices`"));
        assert!(refused(|endpoint| endpoint.temperature = f64::NAN).contains("`temperature`"));
        assert!(refused(|endpoint| endpoint.timeout_seconds = 0).contains("`timeout_seconds`"));
        let stream = |endpoint: &mut Endpoint| {
            endpoint.extra.insert("stream".to_owned(), true.into());
        };
        assert!(refused(stream).contains("`stream`: the client sets this key"));
        assert!(refused(|endpoint| endpoint.omit.push("n".to_owned())).contains("`omit`"));
    }

    #[test]
    fn urls_with_secrets_are_refused_and_not_repeated() {
        for url in
            ["https://me:hunter2@host/v1", "https://host/v1?key=hunter2", "https://h/#hunter2"]
        {
            let message = refused(|endpoint| endpoint.url = url.to_owned());
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(refused(|endpoint| endpoint.url = "localhost".to_owned()).contains("`localhost`"));
        let whole = "http://h/v1/chat/completions";
        assert!(refused(|e| e.url = whole.to_owned()).contains("only the base, `http://h/v1`"));
    }

    #[test]
    fn hosts_are_found() {
        for (url, host) in [
            ("http://localhost:11434/v1", "localhost"),
            ("http://[::1]:80/v1/", "::1"),
            ("https://api.openai.com", "api.openai.com"),
        ] {
            assert_eq!(Endpoint::new(url, "m").host(), host);
        }
        let address = Endpoint::new("http://h/v1/", "m").address();
        assert_eq!(address, "http://h/v1/chat/completions");
    }
}
