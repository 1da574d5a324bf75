//! Quoted texts, as Python, JSON and people write them.

use super::is_quote;

/// Longest distance at which a quote is looked for behind a comma, in bytes. It bounds the time.
const LOOKAHEAD: usize = 64;

/// Reads the quoted text at the start of `text`. Returns it without quotes and escapes, and its
/// length in bytes with the quotes. `None` if it never closes.
///
/// A quote closes a text only where a separator or a bracket follows, so apostrophes and quotes
/// inside it need no escapes.
pub(super) fn quoted(text: &str, quote: char, is_in_object: bool) -> Option<(String, usize)> {
    let start = quote.len_utf8();
    let mut is_escaped = false;
    for (index, character) in text[start..].char_indices() {
        let behind = start + index + character.len_utf8();
        if is_escaped {
            is_escaped = false;
        } else if character == '\\' {
            is_escaped = true;
        } else if closes(character, quote) && ends(&text[behind..], character, is_in_object) {
            return Some((unescaped(&text[start..start + index]), behind));
        }
    }
    None
}

/// Whether a character may close a text that `quote` opened.
fn closes(character: char, quote: char) -> bool {
    match quote {
        '\u{201c}' | '\u{201d}' | '\u{201e}' => matches!(character, '\u{201c}' | '\u{201d}'),
        '\u{2018}' | '\u{2019}' => matches!(character, '\u{2018}' | '\u{2019}'),
        _ => character == quote,
    }
}

/// Whether a text ends with the quote before `rest`.
fn ends(rest: &str, quote: char, is_in_object: bool) -> bool {
    let rest = rest.trim_start();
    let mut characters = rest.chars();
    match characters.next() {
        None => true,
        // `("a ("b")", "c")`
        Some(')' | ']' | '}') => characters.next() != Some(quote),
        Some(':') => is_in_object,
        Some(',') => starts_value(&rest[1..], quote),
        Some(_) => false,
    }
}

/// Whether a value follows a comma, and not the rest of a quoted text: `("say "hi", he", "quote")`.
fn starts_value(rest: &str, quote: char) -> bool {
    let rest = rest.trim_start();
    match rest.chars().next() {
        None => true,
        Some(next) if is_quote(next) || "([{)]}".contains(next) => true,
        Some(_) => {
            let mut near = rest.char_indices().take_while(|(index, _)| *index < LOOKAHEAD);
            let end = near.find(|(_, c)| *c == quote || ",()[]{}".contains(*c));
            end.is_none_or(|(_, c)| c != quote)
        }
    }
}

/// Resolves the escapes of Python and JSON. An unknown one stays as written, as in Python.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(backslash) = rest.find('\\') {
        plain.push_str(&rest[..backslash]);
        let escape = &rest[backslash + 1..];
        let Some(kind) = escape.chars().next() else {
            plain.push('\\');
            return plain;
        };
        let (character, length) = resolved(kind, escape);
        match character {
            Some(character) => plain.push(character),
            None => plain.extend(['\\', kind]),
        }
        rest = &escape[length..];
    }
    plain + rest
}

/// The character of an escape, and the length of the escape without its backslash.
fn resolved(kind: char, escape: &str) -> (Option<char>, usize) {
    let simple = match kind {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        '"' | '\'' | '`' | '\\' | '/' => Some(kind),
        _ => None,
    };
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return (simple, kind.len_utf8()),
    };
    let Some(code) = hexadecimal(&escape[1..], digits) else { return (None, 1) };
    let second = escape[1 + digits..].strip_prefix("\\u").and_then(|rest| hexadecimal(rest, 4));
    match (code, second) {
        (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
            let code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code), 1 + digits + 6)
        }
        // Half of a character.
        _ => (Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)), 1 + digits),
    }
}

fn hexadecimal(text: &str, digits: usize) -> Option<u32> {
    let digits =
        text.get(..digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}
