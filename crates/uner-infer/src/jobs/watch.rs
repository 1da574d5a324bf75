//! Decoders that watch another decoder: for a job that is cancelled, and for the text so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uner_prompt::Tokenizer;

use super::OnText;
use crate::engine::{Decoder, Next, Prompt};

/// Ends an answer when its job is cancelled.
pub(super) struct CancelledDecoder<'a> {
    decoder: Box<dyn Decoder + 'a>,
    cancelled: Arc<AtomicBool>,
}

/// Passes the text of an answer on as it grows, and ends it at a stop text.
pub(super) struct TextDecoder<'a, D> {
    decoder: D,
    tokenizer: &'a Tokenizer,
    stop: Vec<String>,
    on_text: Option<OnText>,
    ids: Vec<u32>,
    /// The text that was passed on.
    sent: String,
    has_stopped: bool,
}

impl<'a> CancelledDecoder<'a> {
    /// A prompt that ends when its job is cancelled.
    pub(super) fn watch(prompt: Prompt<'a>, cancelled: Option<Arc<AtomicBool>>) -> Prompt<'a> {
        match cancelled {
            None => prompt,
            Some(cancelled) => {
                let decoder = Box::new(Self { decoder: prompt.decoder, cancelled });
                Prompt { decoder, ..prompt }
            }
        }
    }
}

impl Decoder for CancelledDecoder<'_> {
    fn next(&mut self) -> Next {
        if self.cancelled.load(Ordering::Relaxed) { Next::Nothing } else { self.decoder.next() }
    }

    fn push(&mut self, token: u32) -> bool {
        self.decoder.push(token)
    }

    fn makes_empty(&self, token: u32) -> bool {
        self.decoder.makes_empty(token)
    }
}

impl<'a, D: Decoder> TextDecoder<'a, D> {
    pub(super) fn new(
        decoder: D,
        tokenizer: &'a Tokenizer,
        stop: Vec<String>,
        on_text: Option<OnText>,
    ) -> Self {
        let (ids, sent) = (Vec::new(), String::new());
        Self { decoder, tokenizer, stop, on_text, ids, sent, has_stopped: false }
    }

    /// Passes on the part of the text that no further token changes.
    fn read(&mut self) {
        let Ok(text) = self.tokenizer.decode(&self.ids) else { return };
        let text = text.strip_prefix(' ').unwrap_or(&text);
        self.has_stopped = first_stop(text, &self.stop).is_some();
        let Some(on_text) = &mut self.on_text else { return };
        // The next token may join a byte in a character, or make it invalid.
        if self.ids.last().is_some_and(|&id| self.tokenizer.is_byte(id)) {
            return;
        }
        let known = settled(text, &self.stop);
        if let Some(new) = known.strip_prefix(&self.sent)
            && !new.is_empty()
        {
            on_text(new);
            known.clone_into(&mut self.sent);
        }
    }
}

impl<D: Decoder> Decoder for TextDecoder<'_, D> {
    fn next(&mut self) -> Next {
        if self.has_stopped { Next::Nothing } else { self.decoder.next() }
    }

    fn push(&mut self, token: u32) -> bool {
        let is_text = self.decoder.push(token);
        if is_text && (self.on_text.is_some() || !self.stop.is_empty()) {
            self.ids.push(token);
            self.read();
        }
        is_text
    }

    fn makes_empty(&self, token: u32) -> bool {
        self.decoder.makes_empty(token)
    }
}

/// The byte where the first stop text begins.
pub(super) fn first_stop(text: &str, stop: &[String]) -> Option<usize> {
    stop.iter().filter_map(|stop| text.find(stop.as_str())).min()
}

/// The part of a growing text that is final: without a character that is not complete (U+FFFD
/// stands for it), and without the beginning of a stop text.
fn settled<'t>(text: &'t str, stop: &[String]) -> &'t str {
    let text = &text[..first_stop(text, stop).unwrap_or(text.len())];
    let text = text.trim_end_matches('\u{fffd}');
    let begins_stop = |start: &usize| stop.iter().any(|stop| stop.starts_with(&text[*start..]));
    let starts = text.char_indices().map(|(start, _)| start);
    &text[..starts.into_iter().find(begins_stop).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_characters_and_stops_are_held_back() {
        let stop = ["\n\n".to_owned(), "END".to_owned()];
        let none: &[String] = &[];
        for (text, expected) in
            [("abc", "abc"), ("a\u{fffd}", "a"), ("a\n", "a"), ("a\n\nb", "a"), ("aEN", "a")]
        {
            assert_eq!(settled(text, &stop), expected, "{text:?}");
        }
        assert_eq!(settled("aEN", none), "aEN");
        assert_eq!(settled("", &stop), "");
        assert_eq!(settled("aENx", &stop), "aENx");
    }
}
