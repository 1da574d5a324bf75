//! The answer normaliser of `SQuAD`, as in the released evaluator.

use super::python::{is_word, split};

/// Converts to lower case, deletes ASCII punctuation (without a space in its place), replaces the
/// words `a`, `an`, `the` by a space, and collapses white space.
///
/// ```
/// use uner_eval::official::normalize;
/// assert_eq!(normalize("The  A-Team (U.S.)"), "ateam us");
/// assert_eq!(normalize("The"), "");
/// ```
pub fn normalize(text: &str) -> String {
    // Rust's and Python's lower-casing agree, including final sigma and dotted I.
    let lower = text.to_lowercase();
    let unpunctuated: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let words = without_articles(&unpunctuated);
    split(&words).collect::<Vec<_>>().join(" ")
}

/// Python's `re.sub(r"\b(a|an|the)\b", " ", text)`: an article is a whole run of word characters.
fn without_articles(text: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = is_word(first);
        let end = rest.find(|c| is_word(c) != word).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        replaced.push_str(if matches!(run, "a" | "an" | "the") { " " } else { run });
        rest = after;
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_are_words_between_characters_python_calls_non_word() {
        assert_eq!(normalize("a\u{301}b"), "\u{301}b", "a combining mark ends a word");
        assert_eq!(normalize("the½ ²an"), "the½ ²an", "numbers do not");
        assert_eq!(normalize("an_"), "", "punctuation goes first");
        assert_eq!(normalize("x\u{1c}the\u{85}y"), "x y");
    }

    #[test]
    fn lower_case_is_that_of_python() {
        assert_eq!(normalize("ΟΣ Σ İstanbul ẞ"), "ος σ i\u{307}stanbul ß");
    }
}
