//! Extensions of JSON that Python's `json` reads and writes: `NaN`, `Infinity`, `-Infinity`, and
//! the escape of a lone surrogate (`\ud83d`, half of a character). A Python string can contain a
//! lone surrogate, a Rust string cannot.

use std::{borrow::Cow, ops::Range};

/// A piece of text that is not JSON, or that a Rust string cannot contain.
enum Oddity {
    /// `NaN`, `Infinity` or `-Infinity`.
    NotFinite,
    /// A UTF-16 surrogate without its other half.
    LoneSurrogate(u32),
}

/// Replaces numbers that are not finite by `null`: pandas and `json.dumps` write them for missing
/// values.
///
/// # Errors
/// The byte offset of the first lone surrogate, and a message that names it.
pub(crate) fn strict(json: &str) -> Result<Cow<'_, str>, (usize, String)> {
    let oddities = oddities(json);
    let lone = oddities.iter().find(|(_, oddity)| matches!(oddity, Oddity::LoneSurrogate(_)));
    if let Some((range, _)) = lone {
        let message = format!(
            "the lone surrogate `{}` is half of a character; write the character, or both halves",
            &json[range.clone()]
        );
        return Err((range.start, message));
    }
    Ok(rewritten(json, &oddities))
}

/// Rewrites JSON text so that Rust reads what Python reads from the original, for scores that must
/// equal Python's. Numbers that are not finite become `null`. Each lone surrogate becomes a
/// private-use character of its own (U+10F800 and up). Python treats both alike: they are neither
/// letters nor spaces and have no other case.
///
/// ```
/// assert_eq!(uner_data::as_python_reads(r#"["\ud83d", NaN]"#), "[\"\u{10f83d}\", null]");
/// ```
pub fn as_python_reads(json: &str) -> Cow<'_, str> {
    rewritten(json, &oddities(json))
}

fn rewritten<'a>(json: &'a str, oddities: &[(Range<usize>, Oddity)]) -> Cow<'a, str> {
    if oddities.is_empty() {
        return Cow::Borrowed(json);
    }
    let (mut rewritten, mut end) = (String::with_capacity(json.len()), 0);
    for (range, oddity) in oddities {
        rewritten.push_str(&json[end..range.start]);
        match oddity {
            Oddity::NotFinite => rewritten.push_str("null"),
            Oddity::LoneSurrogate(unit) => {
                rewritten.extend(char::from_u32(0x10_f800 + (unit - 0xd800)));
            }
        }
        end = range.end;
    }
    rewritten.push_str(&json[end..]);
    Cow::Owned(rewritten)
}

fn oddities(json: &str) -> Vec<(Range<usize>, Oddity)> {
    let mut found = Vec::new();
    // Nearly every text has none of these, and this check is much faster than the loop below.
    if !["NaN", "Infinity", "\\ud", "\\uD"].iter().any(|sign| json.contains(sign)) {
        return found;
    }
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = json.as_bytes().get(at) {
        let rest = &json.as_bytes()[at..];
        let length = match byte {
            b'"' => {
                in_string = !in_string;
                1
            }
            b'\\' if in_string => match (unit(rest), unit(rest.get(6..).unwrap_or_default())) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
                (Some(lone @ 0xd800..=0xdfff), _) => {
                    found.push((at..at + 6, Oddity::LoneSurrogate(lone)));
                    6
                }
                _ => 2,
            },
            _ if in_string => 1,
            _ => match ["NaN", "Infinity", "-Infinity"]
                .iter()
                .find(|name| rest.starts_with(name.as_bytes()))
            {
                Some(name) => {
                    found.push((at..at + name.len(), Oddity::NotFinite));
                    name.len()
                }
                None => 1,
            },
        };
        at += length;
    }
    found
}

/// The code unit of an escape `\uXXXX`.
fn unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_odd_is_rewritten() {
        for json in [
            r#"{"a": "NaN", "b": "\ud83d\ude80", "c": "\\ud83d Infinity"}"#,
            r#"["\"NaN\"", "\\\\ud83d"]"#,
        ] {
            assert_eq!(as_python_reads(json), json);
            assert_eq!(strict(json).unwrap(), json);
        }
        assert_eq!(as_python_reads("[NaN, -Infinity,Infinity]"), "[null, null,null]");
        assert_eq!(
            as_python_reads(r#"["\ude80\ud83d\u0041"]"#),
            "[\"\u{10fe80}\u{10f83d}\\u0041\"]"
        );
        assert_eq!(strict(r#"{"é": "\ud83d"}"#).unwrap_err().0, 8);
    }
}
