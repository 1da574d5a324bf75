//! Reads a model's text as a list of strings: `re.match(r"\[(.*?)\]", text)` and `json.loads` of
//! the released `evaluate.py`.

use super::{normalize, python::is_space};
use crate::lines::from_python;

/// The part of a generation that the released code uses: everything after the last `ASSISTANT:`,
/// stripped.
pub fn get_response(generated: &str) -> &str {
    let last = generated.rsplit("ASSISTANT:").next().unwrap_or_default();
    last.trim_matches(is_space)
}

/// The distinct normalised strings of an answer, in order of first occurrence; empty if it cannot
/// be read.
///
/// ```
/// use uner_eval::official::parse;
/// assert_eq!(parse(r#"["The C++", "C"]"#), ["c"]);
/// assert!(parse(r#"["a [1] b"]"#).is_empty());
/// ```
pub fn parse(answer: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for mention in mentions(answer).unwrap_or_default() {
        let item = normalize(&mention);
        if !items.contains(&item) {
            items.push(item);
        }
    }
    items
}

/// The strings of an answer as written, including repeats. `None` if the released parser fails: the
/// answer must start with `[`, the list ends at the first `]`, which must be on the same line, and
/// all of it must be a JSON list of strings. (Python's `json.loads` also reads `NaN` and objects,
/// but the parser fails on any item that is not a string.)
pub fn mentions(answer: &str) -> Option<Vec<String>> {
    if !answer.starts_with('[') {
        return None;
    }
    let list = &answer[..=answer.find(']')?];
    if list.contains('\n') {
        return None;
    }
    from_python(list).ok()
}
