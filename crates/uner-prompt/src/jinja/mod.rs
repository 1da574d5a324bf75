//! Jinja as in transformers: `messages`, `add_generation_prompt`, `bos_token`, `eos_token`,
//! `trim_blocks`, `lstrip_blocks`, Python's string methods, `raise_exception`. Today's date is not
//! available, so a prompt does not change from day to day.

mod folder;

pub(crate) use folder::of_model;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::Formatter;

use crate::conversation::{Message, Role};

/// Limit on instructions and characters per rendering; a conversation needs about ten thousand.
const FUEL: u64 = 1_000_000;
/// Limit on the bytes of a template; the longest of known models have about twenty thousand.
const MOST_BYTES: usize = 1 << 16;
/// Bytes of stack. The parser is recursive, and only the template's size limits its depth.
const STACK: usize = 1 << 29;
/// Time limit for a conversation. Usual templates take milliseconds, but single instructions can be
/// slow.
const PATIENCE: Duration = Duration::from_secs(10);
const NAME: &str = "chat";

/// The first messages of a conversation.
pub(crate) struct Prefix {
    /// The messages, as returned by [`message`].
    pub(crate) messages: Vec<Value>,
    /// Whether the assistant's turn is opened after them (`add_generation_prompt`).
    pub(crate) add_generation_prompt: bool,
}

/// A message as a Jinja value. Copies share its text.
pub(crate) fn message(message: &Message) -> Value {
    let role = if message.role == Role::User { "user" } else { "assistant" };
    context! { role, content => &message.text }
}

/// A compiled chat template. An empty one is a placeholder for the model's template.
#[derive(Clone)]
pub struct ChatTemplate {
    source: String,
    environment: Arc<Environment<'static>>,
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// Describes the fault and its line.
    pub fn new(source: String) -> Result<Self, String> {
        if source.len() > MOST_BYTES {
            return Err(format!(
                "the chat template has `{}` bytes; the limit is `{MOST_BYTES}`",
                source.len()
            ));
        }
        if let Some(name) = loose_namespace(&source) {
            return Err(format!(
                "the chat template uses the namespace `{name}` as a value; only its attributes may be used"
            ));
        }
        let compiled = without_generation_blocks(&source);
        let environment = on_large_stack(move || compile(compiled))?;
        Ok(Self { source, environment: Arc::new(environment) })
    }

    /// Whether it is the placeholder.
    pub fn is_unknown(&self) -> bool {
        self.source.is_empty()
    }

    /// The source of the template.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders several prefixes of a conversation.
    pub(crate) fn render(
        &self,
        system: &str,
        prefixes: &[Prefix],
        special: &[String; 2],
    ) -> Result<Vec<String>, String> {
        let system = (!system.is_empty()).then(|| context! { role => "system", content => system });
        let [bos, eos] = special;
        let context = |Prefix { messages, add_generation_prompt }: &Prefix| {
            let messages: Vec<Value> = system.iter().chain(messages).cloned().collect();
            context! { messages, add_generation_prompt, bos_token => bos, eos_token => eos }
        };
        let contexts: Vec<Value> = prefixes.iter().map(context).collect();
        let environment = Arc::clone(&self.environment);
        on_large_stack(move || {
            let template = environment.get_template(NAME).map_err(|error| problem(&error))?;
            contexts
                .iter()
                .map(|context| template.render(context).map_err(|error| problem(&error)))
                .collect()
        })
    }
}

fn compile(source: String) -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| error.to_string())?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    // Ignores `indent`, which would write as many spaces as requested.
    environment.add_filter("tojson", |value: Value, _: minijinja::value::Kwargs| {
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, AsPython);
        value
            .serialize(&mut serializer)
            .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
        Ok::<_, Error>(String::from_utf8(json).expect("JSON is UTF-8"))
    });
    environment.add_template_owned(NAME, source).map_err(|error| problem(&error))?;
    Ok(environment)
}

/// JSON with the spaces that Python's `json.dumps` writes.
struct AsPython;

impl Formatter for AsPython {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// Runs `work` on a thread with a large stack. A thread cannot be stopped: if it takes too long, it
/// runs until the program ends.
fn on_large_stack<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (send, receive) = mpsc::channel();
    // Sending fails if the caller no longer waits.
    let run = move || send.send(work()).unwrap_or_default();
    let thread =
        thread::Builder::new().name("chat template".to_owned()).stack_size(STACK).spawn(run);
    thread.map_err(|error| format!("cannot start a thread for the chat template: {error}"))?;
    receive.recv_timeout(PATIENCE).unwrap_or_else(|reason| {
        Err(match reason {
            RecvTimeoutError::Timeout => {
                format!("the chat template takes longer than `{}` s", PATIENCE.as_secs())
            }
            RecvTimeoutError::Disconnected => {
                "the chat template crashes its thread (a bug in `minijinja`)".to_owned()
            }
        })
    })
}

/// Finds a namespace used as a value. It could contain itself, and printing it would never end.
fn loose_namespace(source: &str) -> Option<&str> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let names = source.match_indices("namespace(").filter_map(|(at, _)| {
        let before = source[..at].trim_end().strip_suffix('=')?.trim_end();
        Some(&before[before.trim_end_matches(is_word).len()..])
    });
    let is_loose = |name: &&str| {
        source.match_indices(*name).any(|(at, _)| {
            let rest = &source[at + name.len()..];
            let is_whole = !source[..at].ends_with(|character| {
                is_word(character) || character == '.' || character == '\'' || character == '"'
            }) && !rest.starts_with(is_word);
            let rest = rest.trim_start();
            let is_made = rest
                .strip_prefix('=')
                .is_some_and(|rest| rest.trim_start().starts_with("namespace("));
            is_whole && !is_made && !rest.starts_with('.')
        })
    };
    names.filter(|name| !name.is_empty()).find(is_loose)
}

/// Replaces `generation` tags by plain `if` tags. Transformers needs them to find the assistant's
/// text; this crate finds it in another way.
fn without_generation_blocks(source: &str) -> String {
    let mut plain = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%").map(|start| start + 2) {
        let length = rest[start..].find("%}").unwrap_or(rest.len() - start);
        let tag = &rest[start..start + length];
        plain.push_str(&rest[..start]);
        plain.push_str(&match tag
            .trim_matches(|character: char| "-+".contains(character) || character.is_whitespace())
        {
            name @ "generation" => tag.replace(name, "if true"),
            name @ "endgeneration" => tag.replace(name, "endif"),
            _ => tag.to_owned(),
        });
        rest = &rest[start + length..];
    }
    plain + rest
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
