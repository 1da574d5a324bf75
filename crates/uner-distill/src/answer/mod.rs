//! Reads a teacher's answer: `[("entity 1", "type of entity 1"), …]`.
//!
//! Models write the list as Python or as JSON, with text around it, and stop in its middle. One
//! pass over the text collects groups in brackets; a group of two strings is an entity. Every
//! character is looked at a bounded number of times, so the time is linear.

mod group;
mod string;
#[cfg(test)]
mod tests;

use uner_endpoint::prompts::without_reasoning;

use group::{Group, Item};
use string::quoted;

/// Deepest nesting of brackets; deeper ones are characters like any other.
const MAX_DEPTH: usize = 32;

/// The entities of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedAnswer {
    /// Mentions and their types, in order, with repetitions, without white space at their ends.
    pub pairs: Vec<(String, String)>,
    /// Groups with quoted texts that are not pairs, such as `("a", "b", "c")`.
    pub unreadable: usize,
    /// Whether every bracket is closed. Otherwise the answer was cut off, and its last entity is
    /// missing.
    pub is_complete: bool,
}

/// Reads an answer, or returns `None` if it is neither a list of pairs nor an empty list.
///
/// Accepts tuples, lists and objects (`{"entity": …, "type": …}`, `{mention: type}`,
/// `{type: [mention, …]}`); double, single and typographic quotes, with apostrophes and quotes
/// inside; the escapes of Python and JSON; missing and superfluous commas and brackets; Markdown,
/// reasoning and other text around the list; several lists. If the answer is cut off, its complete
/// pairs count.
///
/// ```
/// let parsed = uner_distill::answer::parse("Sure: [('Macy's', 'shop'), ('Rome', 'ci").unwrap();
/// assert_eq!(parsed.pairs, [("Macy's".to_owned(), "shop".to_owned())]);
/// assert!(!parsed.is_complete);
/// ```
pub fn parse(output: &str) -> Option<ParsedAnswer> {
    let mut scan = Scan::new(without_reasoning(output));
    scan.run();
    scan.finish()
}

struct Scan<'a> {
    text: &'a str,
    /// The byte that is read next.
    at: usize,
    /// The open groups, the outermost first.
    groups: Vec<Group>,
    /// Whether a value may start here: behind a bracket, a comma or a colon.
    expects_value: bool,
    has_empty_list: bool,
    parsed: ParsedAnswer,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            groups: Vec::new(),
            expects_value: false,
            has_empty_list: false,
            parsed: ParsedAnswer::default(),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn run(&mut self) {
        while let Some(next) = self.rest().chars().next() {
            if self.groups.is_empty() {
                self.skip_text();
            } else {
                self.step(next);
            }
        }
    }

    /// Goes to the next bracket that may open a list.
    fn skip_text(&mut self) {
        let rest = self.rest();
        let mut brackets = rest.match_indices(['(', '[', '{']).map(|(index, _)| index);
        match brackets.find(|index| opens_list(&rest[*index..])) {
            Some(index) => {
                self.at += index;
                self.open();
            }
            None => self.at = self.text.len(),
        }
    }

    /// Reads a bracket, a separator or an item inside a group.
    fn step(&mut self, next: char) {
        match next {
            '(' | '[' | '{' if self.groups.len() < MAX_DEPTH => self.open(),
            ')' | ']' | '}' => {
                self.at += 1;
                self.close();
            }
            ',' => {
                self.at += 1;
                self.expects_value = true;
            }
            ':' if self.is_in_object() => {
                self.at += 1;
                self.expects_value = true;
                self.group().name_last();
            }
            _ if next.is_whitespace() => self.at += next.len_utf8(),
            _ if self.expects_value && is_quote(next) => self.string(next),
            _ => self.bare(next),
        }
    }

    fn group(&mut self) -> &mut Group {
        self.groups.last_mut().expect("the caller is inside a group")
    }

    fn is_in_object(&self) -> bool {
        self.groups.last().is_some_and(Group::is_object)
    }

    fn open(&mut self) {
        let bracket = self.rest().as_bytes()[0];
        self.at += 1;
        // A pair whose closing bracket is missing.
        if bracket == b'(' && self.groups.last().is_some_and(Group::is_open_pair) {
            self.close();
        }
        self.groups.push(Group::new(bracket));
        self.expects_value = true;
    }

    fn close(&mut self) {
        let Some(group) = self.groups.pop() else { return };
        self.has_empty_list |= group.is_empty_list();
        let key = self.groups.last_mut().and_then(Group::take_key);
        group.read(key.as_deref(), !self.groups.is_empty(), &mut self.parsed);
        if let Some(parent) = self.groups.last_mut() {
            parent.num_groups += 1;
        }
        self.expects_value = false;
    }

    /// Reads a quoted text. One that never closes is the end of an answer that was cut off.
    fn string(&mut self, quote: char) {
        match quoted(self.rest(), quote, self.is_in_object()) {
            Some((text, length)) => {
                self.at += length;
                self.group().push(Item { text, is_quoted: true });
                self.expects_value = false;
            }
            None => self.at = self.text.len(),
        }
    }

    /// Reads a text without quotes: an item if a value may start here, and nothing otherwise.
    fn bare(&mut self, first: char) {
        let is_object = self.is_in_object();
        let ends = |c: char| "()[]{},".contains(c) || (is_object && c == ':');
        let behind = &self.rest()[first.len_utf8()..];
        let length = first.len_utf8() + behind.find(ends).unwrap_or(behind.len());
        let text = self.rest()[..length].trim();
        self.at += length;
        if std::mem::take(&mut self.expects_value) {
            let text = text.to_owned();
            self.group().push(Item { text, is_quoted: false });
        }
    }

    fn finish(mut self) -> Option<ParsedAnswer> {
        self.parsed.is_complete = self.groups.is_empty();
        // The entries of an object are complete before it is closed.
        for group in self.groups.iter().filter(|group| group.is_object()) {
            group.read(None, false, &mut self.parsed);
        }
        let is_empty = self.has_empty_list && self.parsed.is_complete;
        let is_readable =
            !self.parsed.pairs.is_empty() || (is_empty && self.parsed.unreadable == 0);
        is_readable.then_some(self.parsed)
    }
}

/// Whether a bracket at the start of a text opens a list of entities, and is not part of a
/// sentence: whether a quote follows, perhaps behind more brackets, or if it is a list also another
/// bracket.
fn opens_list(text: &str) -> bool {
    const BRACKETS: [char; 3] = ['(', '[', '{'];
    let inside = text[1..].trim_start();
    let is_list = text.starts_with('[') && inside.starts_with(['(', '[', '{', ']']);
    let mut first = inside;
    for _ in 0..2 {
        first = first.strip_prefix(BRACKETS).map_or(first, str::trim_start);
    }
    is_list || first.starts_with(is_quote)
}

/// Whether a character opens a quoted text.
fn is_quote(character: char) -> bool {
    matches!(
        character,
        '"' | '\'' | '`' | '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2018}' | '\u{2019}'
    )
}
