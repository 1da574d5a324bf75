//! Documents that a span head reads.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use uner_data::FoundEntity;
use uner_data::predictions::PredictedEntity;

use super::document::OpenDocument;
use super::{Job, JobInput, Outcome};
use crate::error::InferError;
use crate::predict::Predictor;
use crate::span_reader::SpanReader;
use crate::spans::{Asked, Read};

/// About as many bytes of text have a token of a passage that is read twice.
const BYTES_OF_A_TOKEN: usize = 2;

impl Predictor<'_> {
    /// As [`Self::run_jobs`]. Chats are refused.
    pub(super) fn run_span_jobs(
        &self,
        reader: &SpanReader,
        jobs: &mut dyn Iterator<Item = Job>,
        finished: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        // One pass, so that nobody waits long for others.
        let most = BYTES_OF_A_TOKEN * self.tokens_of_a_pass();
        let mut number = 0;
        loop {
            let (mut open, mut bytes) = (Vec::new(), 0);
            while bytes < most {
                let Some(Job { input, cancelled }) = jobs.next() else { break };
                match input {
                    JobInput::Document(request) => {
                        bytes += 1 + request.text.len();
                        open.push((number, self.open_document(request, cancelled)));
                    }
                    JobInput::Chat(..) => {
                        bytes += 1;
                        stop(finished(number, Outcome::Chat(Err(InferError::Reads))))?;
                    }
                }
                number += 1;
            }
            if bytes == 0 {
                return Ok(());
            }
            let mut documents: Vec<&mut OpenDocument> =
                open.iter_mut().map(|(_, document)| document).collect();
            self.read_documents(reader, &mut documents)?;
            for (number, document) in open {
                let (prediction, problem) = document.close();
                stop(finished(number, Outcome::Document(prediction, problem)))?;
            }
        }
    }

    /// Reads all windows of documents.
    fn read_documents(
        &self,
        reader: &SpanReader,
        documents: &mut [&mut OpenDocument],
    ) -> Result<(), InferError> {
        for document in documents.iter_mut() {
            let cancelled = document.cancelled.as_ref();
            if cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
                document.cut_short();
            }
        }
        let windows = |document: &&mut OpenDocument| document.window_texts().count();
        let counts: Vec<usize> = documents.iter().map(windows).collect();
        let asked: Vec<Asked> = documents
            .iter()
            .flat_map(|document| {
                let types = &document.request.types;
                let types = || types.iter().map(String::as_str).collect();
                document.window_texts().map(move |text| Asked { text, types: types() })
            })
            .collect();
        let read = self.read_spans(reader, &asked)?;
        let found = |(asked, read): (&Asked, Result<Vec<_>, InferError>)| {
            let reads = read.map_err(|error| error.to_string())?;
            let all = reads.iter().flat_map(|read: &Read| &read.entities);
            Ok(all.filter_map(|found| predicted(asked.text, found)).collect())
        };
        let found: Vec<Result<Vec<PredictedEntity>, String>> =
            asked.iter().zip(read).map(found).collect();
        let mut found = found.into_iter();
        for (document, count) in documents.iter_mut().zip(counts) {
            document.set_found(found.by_ref().take(count));
        }
        Ok(())
    }
}

fn stop(flow: ControlFlow<()>) -> Result<(), InferError> {
    if flow.is_break() { Err(InferError::Stopped) } else { Ok(()) }
}

/// An entity with its bytes in the text.
fn predicted(text: &str, found: &FoundEntity) -> Option<PredictedEntity> {
    let span = found.entity.span?;
    let byte = |character| text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte);
    let bytes = byte(span.start)..byte(span.end);
    PredictedEntity::at(text, bytes, &found.entity.entity_type, found.probability)
}
