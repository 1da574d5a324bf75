//! Jinja as transformers runs it: `messages`, `add_generation_prompt`, `bos_token`, `eos_token`, blocks trimmed, Python's methods of
//! strings, `raise_exception`. The date is not known, so that a prompt is the same tomorrow.

use std::fmt;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::conversation::{Message, Role};

/// Instructions and characters that one rendering may take: a conversation takes some ten thousand.
const FUEL: u64 = 2_000_000;
/// Bytes of a template; the longest that models have are some ten thousand.
const MOST_BYTES: usize = 1 << 20;
const NAME: &str = "chat";

/// A chat template, compiled. Empty: that of the model, which is not known yet.
#[derive(Clone)]
pub struct ChatTemplate {
    source: String,
    environment: Arc<Environment<'static>>,
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub fn new(source: String) -> Result<Self, String> {
        if source.len() > MOST_BYTES {
            return Err(format!(
                "the chat template has {} bytes, and at most {MOST_BYTES} are read",
                source.len()
            ));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        let compiled = without_generation_blocks(&source);
        environment.add_template_owned(NAME, compiled).map_err(|error| problem(&error))?;
        Ok(Self { source, environment: Arc::new(environment) })
    }

    /// Whether it is that of the model, which has to be read first.
    pub fn is_unknown(&self) -> bool {
        self.source.is_empty()
    }

    /// The template as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn render(
        &self,
        system: &str,
        messages: &[Message],
        ask: bool,
        [bos, eos]: &[String; 2],
    ) -> Result<String, String> {
        let system = (!system.is_empty()).then(|| context! { role => "system", content => system });
        let message = |message: &Message| {
            let role = if message.role == Role::User { "user" } else { "assistant" };
            context! { role, content => &message.text }
        };
        let messages: Vec<Value> = system.into_iter().chain(messages.iter().map(message)).collect();
        let template = self.environment.get_template(NAME).map_err(|error| problem(&error))?;
        template
            .render(context! { messages, add_generation_prompt => ask, bos_token => bos, eos_token => eos })
            .map_err(|error| problem(&error))
    }
}

/// The tags with which transformers finds what the assistant says; it is found otherwise here.
fn without_generation_blocks(source: &str) -> String {
    source.replace(" endgeneration ", " endif ").replace(" generation ", " if true ")
}

fn problem(error: &Error) -> String {
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    format!("the chat template cannot be rendered: {detail}{line}")
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("ChatTemplate").field(&self.source).finish()
    }
}

impl PartialEq for ChatTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for ChatTemplate {}

impl Serialize for ChatTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl<'de> Deserialize<'de> for ChatTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
