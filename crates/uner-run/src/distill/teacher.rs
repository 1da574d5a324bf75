//! A model of this process as the teacher.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uner_distill::Teacher;
use uner_distill::teacher::{OnTeacherEvent, TeacherError, TeacherEvent};
use uner_endpoint::{Answer, ChatRole, End, Estimate, Failure, Problem, Request, Tokens};
use uner_infer::{Chat, ChatOptions, Completion, InferError, Predictor};
use uner_prompt::{Conversation, Message};

/// A model of this process.
#[derive(Debug)]
pub(super) struct LocalTeacher {
    /// Its name in the data that it makes.
    pub(super) name: String,
    pub(super) predictor: Predictor<'static>,
    pub(super) max_new_tokens: usize,
}

impl Teacher for LocalTeacher {
    fn model(&self) -> &str {
        &self.name
    }

    fn settings(&self) -> Value {
        let template = self.predictor.template().fingerprint();
        json!({ "template": template, "max_new_tokens": self.max_new_tokens })
    }

    /// The tokens are a quarter of the characters, as for endpoints without a tokenizer.
    fn estimate(&self, requests: &[Request]) -> Estimate {
        let characters = requests.iter().flat_map(|request| &request.messages);
        let input = characters.map(|message| message.content.chars().count() as u64 / 4).sum();
        let requests = requests.len() as u64;
        let tokens = Tokens { input, output: requests * self.max_new_tokens as u64 };
        Estimate { requests, cached: 0, tokens, money: 0.0 }
    }

    fn answer_all(
        &mut self,
        requests: &mut dyn Iterator<Item = Request>,
        on_event: &mut OnTeacherEvent<'_>,
    ) -> Result<End, TeacherError> {
        let started = Cell::new(0);
        let chats = requests.map(|request| {
            started.set(started.get() + 1);
            chat(request)
        });
        let (mut done, mut broken) = (0, None);
        let finished = |index, completion: Result<Completion, InferError>| {
            done += 1;
            let outcome = match completion {
                Ok(found) => Ok(self.answer(found)),
                Err(error @ InferError::TooLong { .. }) => {
                    Err(Failure { problem: Problem::ContextLength(error.to_string()), attempts: 1 })
                }
                Err(error) => {
                    broken = Some(error);
                    return ControlFlow::Break(());
                }
            };
            on_event(TeacherEvent::Answered { index, outcome })?;
            let in_flight = started.get() - done;
            on_event(TeacherEvent::Progress { money: 0.0, in_flight })
        };
        let outcome = self.predictor.complete(chats, finished);
        match broken.map_or(outcome, Err) {
            Ok(()) => Ok(End::Complete),
            Err(InferError::Stopped) => Ok(End::Interrupted),
            Err(error) => Err(error.into()),
        }
    }
}

impl LocalTeacher {
    fn answer(&self, completion: Completion) -> Answer {
        let Completion { text, ended, prompt_tokens, tokens } = completion;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Answer {
            text,
            finish_reason: Some(if ended { "stop" } else { "length" }.to_owned()),
            tokens: Some(Tokens { input: prompt_tokens as u64, output: tokens as u64 }),
            model: Some(self.name.clone()),
            time: now.as_secs(),
            latency: Duration::ZERO,
            cached: false,
        }
    }
}

/// The messages of a request as a system line and turns.
fn chat(request: Request) -> Chat {
    let (mut system, mut messages) = (String::new(), Vec::new());
    for message in request.messages {
        match message.role {
            ChatRole::System => system = message.content,
            ChatRole::User => messages.push(Message::user(message.content)),
            ChatRole::Assistant => messages.push(Message::assistant(message.content)),
        }
    }
    Chat { system, conversation: Conversation { messages }, options: ChatOptions::default() }
}
