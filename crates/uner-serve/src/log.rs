//! A line for each request: JSON, without texts unless they are asked for.

use serde::Serialize;

/// A request that was answered.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// When its headers had come, in milliseconds since 1970.
    pub(crate) time: u64,
    pub(crate) request: &'a str,
    pub(crate) client: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) milliseconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<RequestSummary>,
}

/// The content of a request, which its handler attaches to the response.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RequestSummary {
    pub(crate) model: String,
    pub(crate) texts: usize,
    pub(crate) characters: usize,
    /// Number of entity types.
    pub(crate) types: usize,
    /// The texts, if they are logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contents: Option<Vec<String>>,
}

impl Line<'_> {
    pub(crate) fn write(&self) {
        // A log line cannot fail a request.
        let line = serde_json::to_string(self).unwrap_or_default();
        tracing::info!(target: "uner_serve::requests", "{line}");
    }
}
