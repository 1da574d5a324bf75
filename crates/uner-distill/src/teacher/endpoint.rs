//! A model behind an API as the teacher.

use std::cell::Cell;
use std::path::Path;

use serde_json::{Value, json};
use uner_endpoint::{Client, End, Endpoint, EndpointError, Estimate, Event, Request};

use super::{OnTeacherEvent, Teacher, TeacherError, TeacherEvent};

/// The journal of a client, in the folder of its run.
pub const JOURNAL: &str = "journal.jsonl";

/// Opens an endpoint whose journal is in the folder of a run: an answer that was paid for just
/// before the process ended is read from there.
///
/// # Errors
/// As [`Client::new`] and [`Client::with_journal`].
pub fn open_endpoint(endpoint: Endpoint, folder: &Path) -> Result<Client, EndpointError> {
    let client = Client::new(endpoint)?;
    fs_err::create_dir_all(folder)?;
    client.with_journal(&folder.join(JOURNAL))
}

impl Teacher for Client {
    fn model(&self) -> &str {
        &self.endpoint().model
    }

    fn settings(&self) -> Value {
        let endpoint = self.endpoint();
        json!({
            "temperature": endpoint.temperature,
            "max_tokens": endpoint.max_tokens,
            "seed": endpoint.seed,
            "stop": endpoint.stop,
            "extra": endpoint.extra,
            "omit": endpoint.omit,
        })
    }

    fn estimate(&self, requests: &[Request]) -> Estimate {
        Client::estimate(self, requests)
    }

    fn answer_all(
        &mut self,
        requests: &mut dyn Iterator<Item = Request>,
        on_event: &mut OnTeacherEvent<'_>,
    ) -> Result<End, TeacherError> {
        // Behind a used-up budget the client only looks requests up in its journal. What is there
        // belongs to the first requests of a resumed run, so the rest need not be read.
        let is_over = Cell::new(false);
        let requests = std::iter::from_fn(|| if is_over.get() { None } else { requests.next() });
        let summary = self.complete_all(requests, |event| match event {
            Event::Answered { index, outcome } => {
                on_event(TeacherEvent::Answered { index, outcome })
            }
            Event::Progress { usage, in_flight } => {
                is_over.set(usage.unsent > 0);
                on_event(TeacherEvent::Progress { money: usage.money, in_flight })
            }
        })?;
        Ok(summary.end)
    }
}
