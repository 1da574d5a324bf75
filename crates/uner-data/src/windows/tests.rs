use proptest::prelude::*;

use super::*;
use crate::{Span, predictions::PredictedEntity};

fn texts<'a>(text: &'a str, windows: &[Range<usize>]) -> Vec<&'a str> {
    windows.iter().map(|window| &text[window.clone()]).collect()
}

fn by_length(longest: usize) -> impl FnMut(&str) -> bool {
    move |window| window.chars().count() <= longest
}

#[test]
fn windows_end_at_sentence_ends() {
    let text = "Ada came. Zoë left.\nBob (a cook) stayed. Eve went home early.";
    assert_eq!(windows(text, 5, by_length(100)), Ok(vec![0..text.len()]));
    let found = windows(text, 6, by_length(45)).unwrap();
    assert_eq!(
        texts(text, &found),
        ["Ada came. Zoë left.\nBob (a cook) stayed. ", "stayed. Eve went home early."]
    );
    let found = windows(text, 0, by_length(25)).unwrap();
    assert_eq!(
        texts(text, &found),
        ["Ada came. Zoë left.\n", "Bob (a cook) stayed. ", "Eve went home early."]
    );
}

#[test]
fn long_sentences_are_cut_at_words_and_long_words_anywhere() {
    let text = "one two three four five six seven";
    let found = windows(text, 5, by_length(16)).unwrap();
    assert_eq!(texts(text, &found), ["one two three ", "three four five ", "five six seven"]);
    let found = windows("abcdefghij", 2, by_length(4)).unwrap();
    assert_eq!(texts("abcdefghij", &found), ["abcd", "cdef", "efgh", "ghij"]);
    // A letter with its accent is cut only if it does not fit.
    let text = "e\u{301}e\u{301}e\u{301}";
    let found = windows(text, 0, by_length(3)).unwrap();
    assert_eq!(texts(text, &found), ["e\u{301}"; 3]);
    let found = windows(text, 0, by_length(1)).unwrap();
    assert_eq!(found.len(), 6);
}

#[test]
fn a_character_that_does_not_fit_is_named() {
    let error = windows("aé🚀b", 1, |window| !window.contains('🚀')).unwrap_err();
    assert_eq!((error.character.as_str(), error.position, error.byte), ("🚀", 2, 3));
    assert!(windows("", 1, |_| false).is_err());
    assert_eq!(windows("", 1, |_| true), Ok(vec![0..0]));
}

#[test]
fn runs_of_blanks_take_linear_time() {
    for gap in [" ", ")"] {
        let text = format!("A gap.{}B is behind it.", gap.repeat(200_000));
        let found = windows(&text, 0, |window| window.len() <= 200_010).unwrap();
        assert_eq!(found[0].end, text.find('B').unwrap());
    }
}

#[test]
fn few_windows_are_tried() {
    let text = "The cat of Ada saw a mouse, and ran. ".repeat(5000);
    for longest in [50, 400, 3000, 40_000] {
        let mut tried = 0;
        let mut length = 0;
        let found = windows(&text, longest / 10, |window| {
            tried += 1;
            length += window.len();
            window.len() <= longest
        })
        .unwrap();
        let words = longest / 4;
        let most = found.len() * (words.ilog2() as usize + 5) + 20;
        assert!(tried <= most, "{tried} calls for {} windows of {longest}", found.len());
        assert!(length <= text.len() + most * 2 * longest);
    }
}

/// The maximal runs of words in capitals with one space between them, as a fake model finds them.
fn names(text: &str) -> Vec<PredictedEntity> {
    let (mut found, mut start) = (Vec::new(), None);
    for (at, character) in text.char_indices().chain([(text.len(), '.')]) {
        let before = text[..at].chars().next_back();
        let goes_on = character.is_uppercase()
            || character == ' '
                && before.is_some_and(char::is_uppercase)
                && text[at + 1..].starts_with(char::is_uppercase);
        match (start, goes_on) {
            (None, true) if character != ' ' => start = Some(at),
            (Some(from), false) => {
                found.extend(PredictedEntity::at(text, from..at, "name", None));
                start = None;
            }
            _ => {}
        }
    }
    found
}

fn merged(text: &str, windows: &[Range<usize>]) -> Vec<PredictedEntity> {
    merge(text, windows, texts(text, windows).into_iter().map(names).collect())
}

#[test]
fn a_mention_cut_by_a_window_is_taken_from_the_other() {
    let text = "so ADA LOVE wrote é ZOË";
    let at = |mention: &str| text.find(mention).unwrap();
    let cut = [0..at("LOVE"), at("ADA")..at(" ZOË"), at("é")..text.len()];
    let found = merged(text, &cut);
    // The second window starts with the mention, so it may be cut there.
    let spans: Vec<(&str, usize, usize)> =
        found.iter().map(|e| (e.text.as_str(), e.span.start, e.span.end)).collect();
    assert_eq!(spans, [("ADA LOVE", 3, 11), ("ADA", 3, 6), ("ZOË", 20, 23)]);
    let cut = [0..at("LOVE"), 0..at(" ZOË"), at("é")..text.len()];
    assert_eq!(merged(text, &cut), names(text));
    for entity in merged(text, &cut) {
        assert_eq!(entity.span.slice(text), Some(entity.text.as_str()));
        assert_eq!(text[entity.bytes], entity.text);
    }
}

#[test]
fn the_highest_probability_of_a_span_and_type_counts() {
    let text = "a b c d e";
    let entity = |bytes, entity_type, probability| {
        PredictedEntity::at("b c d", bytes, entity_type, probability).unwrap()
    };
    let found = vec![
        vec![entity(2..3, "x", Some(0.2)), entity(2..3, "y", None)],
        vec![entity(2..3, "x", Some(0.7)), entity(2..3, "y", Some(0.1))],
    ];
    let merged = merge(text, &[2..7, 2..7], found);
    let seen: Vec<_> =
        merged.iter().map(|e| (e.entity_type.as_str(), e.span, e.probability)).collect();
    let span = Span { start: 4, end: 5 };
    assert_eq!(seen, [("x", span, Some(0.7)), ("y", span, Some(0.1))]);
}

/// Rejects some short windows, too: the decision depends on the last character.
fn unsteady(longest: usize) -> impl FnMut(&str) -> bool {
    move |window| {
        let surplus = window.chars().next_back().map_or(0, |last| u32::from(last) as usize % 3);
        window.chars().count() <= 1 || window.chars().count() + surplus <= longest
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn windows_fit_and_cover_every_text(
        text in prop_oneof!["\\PC*", "[a-c. \n\r\u{301}é🚀🇩🇪]{0,80}", "(?s).{0,60}"],
        longest in 1_usize..30,
        overlap in 0_usize..12,
    ) {
        let mut fits = unsteady(longest);
        let found = windows(&text, overlap, &mut fits).unwrap();
        prop_assert_eq!(found[0].start, 0);
        prop_assert_eq!(found[found.len() - 1].end, text.len());
        for window in &found {
            prop_assert!(fits(&text[window.clone()]), "{:?}", window);
        }
        for pair in found.windows(2) {
            prop_assert!(pair[0].start < pair[1].start && pair[0].end < pair[1].end);
            prop_assert!(pair[1].start <= pair[0].end, "{:?}", pair);
            // Overlaps that leave most of a window are never shortened.
            let shared = text[pair[1].start..pair[0].end].chars().count();
            let length = text[pair[0].clone()].chars().count();
            if text.is_ascii() && 4 * (overlap + 3) < longest && 2 * (overlap + 3) < length {
                prop_assert!(shared >= overlap, "{} of {:?}", shared, pair);
            }
        }
        if fits(&text) {
            prop_assert_eq!(found.len(), 1);
        }
    }

    #[test]
    fn windows_find_what_the_whole_text_has(
        words in prop::collection::vec("[a-zé]{1,9}[.,!]?|[A-ZÉ]{1,6}|[A-Z]{1,5} [A-Z]{1,5}\\.?|\n|  ", 0..150),
        longest in 70_usize..200,
    ) {
        let text = words.join(" ");
        let expected = names(&text);
        // A mention needs a character on each side, and blanks do not count.
        let overlap = longest / 3;
        prop_assume!(expected.iter().all(|entity| entity.text.chars().count() + 10 < overlap));
        let found = windows(&text, overlap, unsteady(longest)).unwrap();
        prop_assert_eq!(merged(&text, &found), expected, "{:?}", texts(&text, &found));
    }
}
