//! Written answers are read back, and malformed answers of models are read as far as possible.

use proptest::prelude::*;
use uner_prompt::Characters::{self, Ascii, Utf8};
use uner_prompt::{answer, parse_answer};

fn characters() -> impl Strategy<Value = Characters> {
    prop_oneof![Just(Ascii), Just(Utf8)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The round trip, for every list of strings.
    #[test]
    fn written_answers_are_read_back(
        mentions in prop::collection::vec(any::<String>(), 0..6),
        characters in characters(),
    ) {
        let parsed = parse_answer(&answer(&mentions, characters));
        prop_assert!(parsed.well_formed);
        prop_assert_eq!(parsed.entities, mentions);
    }

    /// The round trip for the characters of the list syntax.
    #[test]
    fn brackets_and_quotes_are_read_back(
        mentions in prop::collection::vec(r#"[\[\]"', \\a\n😀é]{0,12}"#, 0..6),
        characters in characters(),
    ) {
        let parsed = parse_answer(&answer(&mentions, characters));
        prop_assert!(parsed.well_formed);
        prop_assert_eq!(parsed.entities, mentions);
    }

    /// A truncated answer yields the mentions that were complete.
    #[test]
    fn truncated_answers_lose_the_tail(mentions in prop::collection::vec("[a-z .]{1,8}", 1..5), cut in 1_usize..60) {
        let full = answer(&mentions, Ascii);
        let cut = cut.min(full.len() - 1);
        let parsed = parse_answer(&full[..cut]);
        let complete = (0..=mentions.len())
            .rev()
            .find(|n| answer(&mentions[..*n], Ascii).trim_end_matches(']').len() <= cut)
            .unwrap_or(0);
        prop_assert_eq!(parsed.entities, &mentions[..complete]);
        prop_assert!(!parsed.well_formed);
    }

    /// The reader accepts any output of a model.
    #[test]
    fn any_output_is_read(output in r#"[\[\]"', \\aun0😀\n]{0,30}"#) {
        parse_answer(&output);
    }
}

#[test]
fn python_bytes() {
    assert_eq!(answer(&[""; 0], Ascii), "[]");
    assert_eq!(answer(&["Tim Cook", "Zoë"], Ascii), r#"["Tim Cook", "Zo\u00eb"]"#);
    assert_eq!(
        answer(&["🇨🇭", "\u{7f}\u{1}"], Ascii),
        r#"["\ud83c\udde8\ud83c\udded", "\u007f\u0001"]"#
    );
    assert_eq!(answer(&["Tim Cook", "Zoë", "東京 🇨🇭"], Utf8), r#"["Tim Cook", "Zoë", "東京 🇨🇭"]"#);
    assert_eq!(answer(&["\u{7f}\u{1}"], Utf8), "[\"\u{7f}\\u0001\"]");
    for characters in [Ascii, Utf8] {
        assert_eq!(answer(&["a\"b\\c/\n\r\t\u{8}\u{c}"], characters), r#"["a\"b\\c/\n\r\t\b\f"]"#);
    }
}

#[test]
fn malformed_answers() {
    let cases: [(&str, &[&str]); 20] = [
        ("", &[]),
        ("none", &[]),
        ("[", &[]),
        ("]", &[]),
        (r#" ["a"] "#, &["a"]),
        (r#"Here you are: ["a", "b"]. Anything else?"#, &["a", "b"]),
        (r#"["Acme [US] Corp", "Bob"]"#, &["Acme [US] Corp", "Bob"]),
        (r#"["Acme [US] Corp", "Bo"#, &["Acme [US] Corp"]),
        (r#"["a", "#, &["a"]),
        ("['a', 'b']", &["a", "b"]),
        ("['Tim's', \"b'c\"]", &["Tim's", "b'c"]),
        (r"['O\'Dell']", &["O'Dell"]),
        (r#"["the "big" one", "x"]"#, &["the \"big\" one", "x"]),
        ("[Tim Cook, Apple]", &["Tim Cook", "Apple"]),
        ("[Tim Cook, App", &["Tim Cook"]),
        ("[1990]", &["1990"]),
        ("[\"line\nbreak\"]", &["line\nbreak"]),
        (r#"[["a", "b"]]"#, &["a", "b"]),
        (r#"["a",, "b",]"#, &["a", "b"]),
        (r#"["a" "b"]"#, &["a\" \"b"]),
    ];
    for (output, entities) in cases {
        let parsed = parse_answer(output);
        assert_eq!(parsed.entities, entities, "{output}");
        assert_eq!(
            parsed.well_formed,
            output == r#" ["a"] "# || output.starts_with(r#"["Acme [US] Corp", "Bob"#),
            "{output}"
        );
    }
}

#[test]
fn a_quoted_list_without_brackets_is_read_and_prose_is_not() {
    let parsed = parse_answer(r#" "a", "b c""#);
    assert_eq!(
        (parsed.entities, parsed.well_formed),
        (vec!["a".to_owned(), "b c".to_owned()], false)
    );
    assert_eq!(parse_answer(r#"He said "a", "b"."#).entities, Vec::<String>::new());
}
