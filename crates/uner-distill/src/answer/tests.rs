use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn pairs(output: &str) -> Vec<(String, String)> {
    parse(output).unwrap_or_else(|| panic!("{output}")).pairs
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(mention, kind)| ((*mention).to_owned(), (*kind).to_owned())).collect()
}

#[test]
fn every_form_of_an_answer_is_read() {
    let expected = owned(&[("Ada", "person"), ("Rome", "city")]);
    for form in [
        r#"[("Ada", "person"), ("Rome", "city")]"#,
        r#"[("Ada", "person"), ("Rome", "city"),]"#,
        "[('Ada', 'person'), ('Rome', 'city')]",
        r#"[["Ada", "person"], ["Rome", "city"]]"#,
        r#"["Ada", "person"], ["Rome", "city"]"#,
        r#"("Ada", "person"), ("Rome", "city")"#,
        "(\"Ada\", \"person\")\n(\"Rome\", \"city\")",
        "- (\"Ada\", \"person\")\n- (\"Rome\", \"city\")",
        "[(\"Ada\", \"person\")]\n[(\"Rome\", \"city\")]",
        "```python\n[\n    (\"Ada\", \"person\"),\n    (\"Rome\", \"city\"),\n]\n```\nDone (I hope, yes).",
        "Here's the list (of tuples, as asked) [sic]: [(\"Ada\", \"person\"), (\"Rome\", \"city\")]",
        "<think>[(\"Eve\", \"person\")]</think>[(\"Ada\", \"person\"), (\"Rome\", \"city\")]",
        r#"{"entities": [{"entity": "Ada", "type": "person"}, {"Text": "Rome", "LABEL": "city"}]}"#,
        r#"[{"entity 1": "x", "name": "Ada", "entity type": "person"}, {"name": "Rome", "category": "city"}]"#,
        r#"{"Ada": "person", "Rome": "city"}"#,
        r#"{"person": ["Ada"], "city": ["Rome"]}"#,
        "[(\u{201c}Ada\u{201d}, \u{201c}person\u{201d}), (\u{2018}Rome\u{2019}, \u{2018}city\u{2019})]",
        "[(Ada, person), (Rome, city)]",
        r#"[("Ada", person), (Rome, "city")]"#,
        r#"[("Ada" , "person" ) ("Rome","city")]"#,
        r#"[("Ada", "person", ("Rome", "city")]"#,
        r#"[("Ada", "person"), "Rome", "city")]"#,
        r#"[("Ada", "person"], ["Rome", "city")]"#,
        r#"[("Ada", "person", 0.9), ("Rome", "city", [9, 13])]"#,
        r#"(("Ada", "person"), ("Rome", "city"))"#,
    ] {
        assert_eq!(pairs(form), expected, "{form}");
    }
}

#[test]
fn quotes_and_brackets_inside_texts_stay() {
    for (form, mention) in [
        ("[('Macy's', 't')]", "Macy's"),
        ("[('the boys' house', 't')]", "the boys' house"),
        ("[('rock 'n' roll', 't')]", "rock 'n' roll"),
        (r"[('O\'Brien', 't')]", "O'Brien"),
        (r#"[("6" pipe", "t")]"#, "6\" pipe"),
        (r#"[("say "hi", he", "t")]"#, "say \"hi\", he"),
        (r#"[("a ("b")", "t")]"#, "a (\"b\")"),
        (r#"[("IBM (US), Inc. [x] {y}", "t")]"#, "IBM (US), Inc. [x] {y}"),
        (r#"[("Zo\u00eb \ud83d\ude80 \x41", "t")]"#, "Zoë 🚀 A"),
        (r#"[("C:\dir\\x \ud83d", "t")]"#, "C:\\dir\\x \u{fffd}"),
        (r#"[("a\nb", "t")]"#, "a\nb"),
        ("[(\"a\nb\", \"t\")]", "a\nb"),
        (r#"[(" Ada ", "t")]"#, "Ada"),
        (r#"[("Re: x", "t")]"#, "Re: x"),
    ] {
        assert_eq!(pairs(form), owned(&[(mention, "t")]), "{form}");
    }
    assert_eq!(pairs(r#"[("x", "a drug (used for "pain")")]"#)[0].1, "a drug (used for \"pain\")");
}

#[test]
fn values_without_quotes_are_types() {
    assert_eq!(pairs("[('x', None)]"), owned(&[("x", "None")]));
    assert_eq!(pairs("[('', 'person')]"), owned(&[("", "person")]));
}

#[test]
fn an_answer_that_is_cut_off_keeps_complete_pairs() {
    let whole = r#"[("Ada", "person"), ("Rome", "city")]"#;
    for end in 0..whole.len() {
        let expected = match end {
            36.. => Some(2),
            18.. => Some(1),
            _ => None,
        };
        let parsed = parse(&whole[..end]);
        assert_eq!(parsed.as_ref().map(|parsed| parsed.pairs.len()), expected, "{end}");
        assert!(parsed.is_none_or(|parsed| !parsed.is_complete));
    }
    assert!(parse(whole).unwrap().is_complete);
    let object = parse(r#"{"Ada": "person", "Rome": "ci"#).unwrap();
    assert_eq!((object.pairs, object.is_complete), (owned(&[("Ada", "person")]), false));
    let lists = parse(r#"{"person": ["Ada", "Bob"], "city": ["Ro"#).unwrap();
    assert_eq!(lists.pairs, owned(&[("Ada", "person"), ("Bob", "person")]));
}

#[test]
fn an_empty_list_is_an_answer_and_other_texts_are_not() {
    for empty in ["[]", "[ ]", "```json\n[]\n```", "No entities: []", r#"{"entities": []}"#] {
        let parsed = parse(empty).unwrap_or_else(|| panic!("{empty}"));
        assert!(parsed.pairs.is_empty() && parsed.is_complete, "{empty}");
    }
    for other in [
        "",
        "I am sorry, but I cannot do that (yet, alas).",
        "None",
        "Ada: person",
        "[",
        "[(",
        r#"["Ada", "Bob", "Rome"]"#,
        r#"[("Ada", "person", "city")]"#,
        "<think>[('Ada', 'person')]",
    ] {
        assert_eq!(parse(other), None, "{other}");
    }
    let some = parse(r#"[("a", "b", "c"), ("x", "y"), ("z")]"#).unwrap();
    assert_eq!((some.pairs.len(), some.unreadable), (1, 2));
}

/// Texts that a scan with rescans reads in quadratic time.
#[test]
fn the_time_is_linear() {
    let bytes = 4_000_000;
    for unit in [
        "(\"",
        "[[",
        "((",
        "[\"a\",b",
        "{\"a\":",
        "('",
        "\"",
        "\\",
        "(  ",
        "[(\"a\"   ,  ",
        "]",
        "[(\"é\", \"t\"), ",
        "['a', ",
    ] {
        let text = unit.repeat(bytes / unit.len());
        let start = Instant::now();
        parse(&text);
        parse(&format!("[(\"{text}"));
        parse(&format!("[(\"a\", \"b\"), {text}"));
        let seconds = start.elapsed().as_secs_f64();
        assert!(seconds < 20.0, "{seconds} s for `{unit}`");
    }
}

/// Pieces of answers in any order.
fn any_answer() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "(", ")", "[", "]", "{", "}", "\"", "'", ",", ":", "\\", "\\u", "\\ud83d", "\\x4", "a",
        "é", "None", " ", "\n", "```", "\u{201c}", "\u{2019}", "</think>", "🚀",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

/// Python's `repr` of a string, with the quotes that it chooses.
fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let escape = |c: char| match c {
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        _ if c == quote => format!("\\{c}"),
        _ => c.to_string(),
    };
    format!("{quote}{}{quote}", text.chars().map(escape).collect::<String>())
}

proptest! {
    #[test]
    fn nothing_panics(text in any_answer()) {
        parse(&text);
    }

    #[test]
    fn any_text_at_all(text in "\\PC*") {
        parse(&text);
    }

    #[test]
    fn lists_of_python_and_json_are_read_exactly(
        pairs in prop::collection::vec(("[a-zA-Z'\"\\\\(), \\[\\]:é\n]{1,12}", "[a-z '\"]{1,8}"), 1..5)
    ) {
        let expected: Vec<(String, String)> = pairs
            .iter()
            .map(|(mention, kind)| (mention.trim().to_owned(), kind.trim().to_owned()))
            .collect();
        // Only escaped quotes are exact; quotes of the other kind are plain in both languages.
        let json = serde_json::to_string(&pairs).unwrap();
        prop_assert_eq!(parse(&json).unwrap().pairs, expected.clone());
        let tuples: Vec<String> =
            pairs.iter().map(|(mention, kind)| format!("({}, {})", repr(mention), repr(kind))).collect();
        let python = format!("[{}]", tuples.join(", "));
        prop_assert_eq!(parse(&python).unwrap().pairs, expected);
    }
}
