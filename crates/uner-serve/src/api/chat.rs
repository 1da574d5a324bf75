//! `POST /v1/chat/completions`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};
use uner_infer::{Completion, InferError, JobInput, OnText, Outcome};

use super::body;
use super::chat_request::ChatRequest;
use super::chat_response::{ChatResponse, Delta, Head, finish_reason};
use super::error::{ApiError, ErrorBody, json};
use super::models::find;
use crate::log::RequestSummary;
use crate::queue::Pending;
use crate::shared::Shared;

/// The next turn of a chat. With `stream`, server-sent events of `chat.completion.chunk` objects,
/// and `[DONE]` last.
#[utoipa::path(post, path = "/v1/chat/completions", request_body = ChatRequest, responses(
    (status = 200, description = "The next turn", body = ChatResponse),
    (status = 400, description = "The request has a wrong value", body = ErrorBody),
    (status = 401, description = "The API key is missing or wrong", body = ErrorBody),
    (status = 404, description = "No model has this name", body = ErrorBody),
    (status = 408, description = "The body came too slowly", body = ErrorBody),
    (status = 413, description = "The body is too large", body = ErrorBody),
    (status = 415, description = "The body is not said to be JSON", body = ErrorBody),
    (status = 429, description = "The queue is full: try again after `Retry-After` seconds",
     body = ErrorBody),
    (status = 503, description = "The server is loading or stopping", body = ErrorBody),
    (status = 504, description = "The answer took too long", body = ErrorBody)),
    security((), ("key" = [])))]
pub(crate) async fn complete(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let limits = &shared.config.limits;
    let deadline = Instant::now() + limits.time;
    let request: ChatRequest = body::read(request, limits, deadline).await?;
    let model = find(&shared, request.model.as_deref())?;
    let (streams, options) = (request.stream, &request.stream_options);
    let with_usage = options.as_ref().is_some_and(|options| options.include_usage);
    let chat = request.chat(&model.system)?;
    let texts = || chat.conversation.messages.iter().map(|message| &message.text);
    let summary = RequestSummary {
        model: model.name.clone(),
        texts: texts().count(),
        characters: texts().map(|text| text.chars().count()).sum(),
        types: 0,
        contents: shared.config.logs_texts.then(|| texts().cloned().collect()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = format!("chatcmpl-{:x}-{:x}", now.as_nanos(), shared.next_request());
    let head = Head { id, created: now.as_secs(), model: model.name.clone() };
    let (pieces, on_text) = if streams { pieces() } else { (None, None) };
    let pending = model.queue.push(vec![JobInput::Chat(chat, on_text)]);
    let pending = pending.map_err(|full| ApiError::full(full, 1))?;
    let mut pending = pending.ok_or_else(|| ApiError::unavailable(true))?;
    let mut response = if let Some(pieces) = pieces {
        let turn = Turn { head, pieces, pending, deadline, time: limits.time, with_usage };
        turn.stream().await?
    } else {
        let outcome = timeout_at(deadline, outcome(&mut pending)).await;
        json(&head.response(&outcome.map_err(|_| ApiError::late(limits.time))??))
    };
    response.extensions_mut().insert(summary);
    Ok(response)
}

/// The channel of the pieces of a text.
fn pieces() -> (Option<UnboundedReceiver<String>>, Option<OnText>) {
    let (sender, pieces) = unbounded_channel();
    // A client that has gone away does not receive them.
    let on_text: OnText = Box::new(move |piece: &str| drop(sender.send(piece.to_owned())));
    (Some(pieces), Some(on_text))
}

/// The completion of a request with one chat.
async fn outcome(pending: &mut Pending) -> Result<Completion, ApiError> {
    match pending.next().await {
        Some(Outcome::Chat(Ok(completion))) => Ok(completion),
        Some(Outcome::Chat(Err(error @ InferError::TooLong { .. }))) => {
            Err(ApiError::invalid("messages", error.to_string()))
        }
        Some(Outcome::Chat(Err(InferError::Prompt(error)))) => {
            Err(ApiError::invalid("messages", error.to_string()))
        }
        Some(Outcome::Chat(Err(error @ InferError::Reads))) => {
            Err(ApiError::invalid("model", error.to_string()))
        }
        _ => Err(ApiError::internal()),
    }
}

/// A turn that is sent while it is generated. Dropped with the connection, it cancels its job.
struct Turn {
    head: Head,
    pieces: UnboundedReceiver<String>,
    pending: Pending,
    deadline: Instant,
    time: Duration,
    with_usage: bool,
}

/// A stream of events.
struct Events {
    turn: Turn,
    /// Events that are to be sent.
    ready: VecDeque<Event>,
    /// The text that was sent.
    sent: String,
    has_ended: bool,
}

impl Turn {
    /// The response. It begins with the first piece: a chat that cannot be continued has a status.
    async fn stream(mut self) -> Result<Response, ApiError> {
        let first = timeout_at(self.deadline, self.pieces.recv()).await;
        let first = first.map_err(|_| ApiError::late(self.time))?;
        let role = Delta { role: Some("assistant"), content: Some("") };
        let mut ready = VecDeque::from([event(&self.head.chunk(role, None))]);
        let mut sent = String::new();
        let has_ended = first.is_none();
        match first {
            Some(piece) => {
                ready.push_back(self.piece(&piece));
                sent.push_str(&piece);
            }
            None => ready.extend(self.end(&sent).await?),
        }
        let events = Events { turn: self, ready, sent, has_ended };
        let events = stream::unfold(events, Events::next);
        let events = Sse::new(events).keep_alive(KeepAlive::default());
        Ok(events.into_response())
    }

    fn piece(&self, text: &str) -> Event {
        event(&self.head.chunk(Delta { role: None, content: Some(text) }, None))
    }

    /// The last events.
    async fn end(&mut self, sent: &str) -> Result<Vec<Event>, ApiError> {
        let completion = timeout_at(self.deadline, outcome(&mut self.pending)).await;
        let completion = completion.map_err(|_| ApiError::late(self.time))??;
        let mut events = Vec::new();
        match completion.text.strip_prefix(sent) {
            None | Some("") => {}
            Some(rest) => events.push(self.piece(rest)),
        }
        let reason = Some(finish_reason(&completion));
        events.push(event(&self.head.chunk(Delta::default(), reason)));
        if self.with_usage {
            events.push(event(&self.head.usage(&completion)));
        }
        events.push(Event::default().data("[DONE]"));
        Ok(events)
    }
}

impl Events {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.ready.is_empty() && !self.has_ended {
            let more = timeout_at(self.turn.deadline, self.turn.pieces.recv()).await;
            let events = match more {
                Ok(Some(piece)) => {
                    self.sent.push_str(&piece);
                    Ok(vec![self.turn.piece(&piece)])
                }
                Ok(None) => {
                    self.has_ended = true;
                    self.turn.end(&self.sent).await
                }
                Err(_) => Err(ApiError::late(self.turn.time)),
            };
            let events = events.unwrap_or_else(|error| {
                self.has_ended = true;
                vec![event(&error.body())]
            });
            self.ready.extend(events);
        }
        let event = self.ready.pop_front()?;
        Some((Ok(event), self))
    }
}

fn event(body: &impl serde::Serialize) -> Event {
    Event::default().data(serde_json::to_string(body).expect("events are JSON"))
}
