//! Finds mentions in a passage.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use uner_data::{Span, align::occurrences};

use super::Reason;

/// A passage in which mentions are found, one after the other.
pub(super) struct Ground<'a> {
    text: &'a str,
    /// The passage with single blanks, built if a mention is not in it as written.
    squeezed: Option<Squeezed>,
    /// The occurrences that are left for each mention and type.
    unused: HashMap<(String, String), std::vec::IntoIter<Span>>,
    taken: HashSet<(Span, String)>,
}

impl<'a> Ground<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, squeezed: None, unused: HashMap::new(), taken: HashSet::new() }
    }

    /// The next occurrence of a mention with a type, and its text in the passage.
    pub(super) fn find(&mut self, mention: &str, kind: &str) -> Result<(String, Span), Reason> {
        let mention = mention.trim_matches(uner_data::is_blank);
        let key = (mention.to_owned(), kind.to_owned());
        if !self.unused.contains_key(&key) {
            let spans = self.occurrences(mention);
            if spans.is_empty() {
                return Err(self.reason(mention));
            }
            self.unused.insert(key.clone(), spans.into_iter());
        }
        let unused = self.unused.get_mut(&key).expect("it was inserted above");
        let span = unused.next().ok_or(Reason::Repeated)?;
        if !self.taken.insert((span, key.1)) {
            return Err(Reason::Repeated);
        }
        let text = span.slice(self.text).expect("the span was found in the text");
        Ok((text.to_owned(), span))
    }

    /// The occurrences of a mention as written or, without any, with other white space.
    fn occurrences(&mut self, mention: &str) -> Vec<Span> {
        let exact = occurrences(self.text, mention);
        if exact.is_empty() { self.squeezed().occurrences(mention) } else { exact }
    }

    fn squeezed(&mut self) -> &Squeezed {
        self.squeezed.get_or_insert_with(|| Squeezed::new(self.text))
    }

    /// Why a mention is not found.
    fn reason(&mut self, mention: &str) -> Reason {
        let lower = Squeezed::new(mention).text.to_lowercase();
        let is_there = self.squeezed().lower().contains(&lower);
        if is_there { Reason::OtherCase } else { Reason::NotInPassage }
    }
}

/// A text whose runs of white space are single blanks.
struct Squeezed {
    text: String,
    /// The original index of each character.
    origins: Vec<usize>,
    /// The text in lower case.
    lower: OnceCell<String>,
}

impl Squeezed {
    fn new(original: &str) -> Self {
        let (mut text, mut origins) = (String::with_capacity(original.len()), Vec::new());
        for (index, character) in original.chars().enumerate() {
            let is_blank = uner_data::is_blank(character);
            if !(is_blank && text.ends_with(' ')) {
                text.push(if is_blank { ' ' } else { character });
                origins.push(index);
            }
        }
        Self { text, origins, lower: OnceCell::new() }
    }

    fn lower(&self) -> &str {
        self.lower.get_or_init(|| self.text.to_lowercase())
    }

    fn occurrences(&self, mention: &str) -> Vec<Span> {
        let found = occurrences(&self.text, &Self::new(mention).text);
        // The last character of a mention is not blank, so its end is one behind it.
        let original = |span: Span| Span {
            start: self.origins[span.start],
            end: self.origins[span.end - 1] + 1,
        };
        found.into_iter().map(original).collect()
    }
}
