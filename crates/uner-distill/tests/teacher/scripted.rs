//! A teacher in this process.

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::{Value, json};
use uner_distill::Teacher;
use uner_distill::teacher::{OnTeacherEvent, TeacherError, TeacherEvent};
use uner_endpoint::{Answer, End, Estimate, Failure, Problem, Request, Tokens};

type Reply = dyn Fn(&str) -> Option<String>;

/// A teacher that answers some requests at a time, the last one first.
pub(crate) struct Scripted {
    pub(crate) at_a_time: usize,
    /// The answer to a prompt; `None` if the request fails.
    pub(crate) reply: Box<Reply>,
    /// The prompts that were answered or failed, in that order.
    pub(crate) asked: Vec<String>,
}

impl Scripted {
    pub(crate) fn new(at_a_time: usize) -> Self {
        let reply = Box::new(|prompt: &str| Some(crate::answer(prompt)));
        Self { at_a_time, reply, asked: Vec::new() }
    }

    fn outcome(&self, prompt: &str) -> Result<Answer, Failure> {
        let refused =
            Failure { problem: Problem::ContextLength("too long".to_owned()), attempts: 1 };
        Ok(Answer {
            text: (self.reply)(prompt).ok_or(refused)?,
            finish_reason: Some("stop".to_owned()),
            tokens: Some(Tokens { input: 10, output: 5 }),
            model: None,
            time: 1_700_000_000 + prompt.len() as u64,
            latency: Duration::ZERO,
            cached: false,
        })
    }
}

impl Teacher for Scripted {
    fn model(&self) -> &'static str {
        "scripted"
    }

    fn settings(&self) -> Value {
        json!({})
    }

    fn estimate(&self, requests: &[Request]) -> Estimate {
        Estimate { requests: requests.len() as u64, ..Estimate::default() }
    }

    fn answer_all(
        &mut self,
        requests: &mut dyn Iterator<Item = Request>,
        on_event: &mut OnTeacherEvent<'_>,
    ) -> Result<End, TeacherError> {
        let mut requests = requests.enumerate();
        loop {
            let batch: Vec<_> = requests.by_ref().take(self.at_a_time).collect();
            if batch.is_empty() {
                return Ok(End::Complete);
            }
            for (index, request) in batch.into_iter().rev() {
                let prompt = &request.messages[1].content;
                self.asked.push(prompt.clone());
                let outcome = self.outcome(prompt);
                let is_over = on_event(TeacherEvent::Answered { index, outcome }).is_break();
                let progress = TeacherEvent::Progress { money: 0.0, in_flight: 0 };
                if is_over || on_event(progress) == ControlFlow::Break(()) {
                    return Ok(End::Interrupted);
                }
            }
        }
    }
}
