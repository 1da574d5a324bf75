//! Tests that every format gives each entity once, at its position.

use super::*;

fn only(format: &str, types: &str, content: &str) -> (Result<Example, String>, Notes) {
    let (mut items, notes) = items(&dataset(format, types), content);
    assert_eq!(items.len(), 1, "{items:?}");
    (items.remove(0), notes)
}

#[test]
fn an_entity_given_again_is_given_once() {
    let spans = r#"{"text": "Bo met Bo", "entities": [[0, 2, "p"], [0, 2, "p"], [7, 9, "p"], [0, 2, "q"]]}"#;
    let tokens = r#"[{"tokenized_text": ["Bo", "met", "Bo"], "ner": [[0, 0, "p"], [0, 0, "p"], [2, 2, "p"], [0, 0, "q"]]}]"#;
    let pieces = r#"[{"sentence": "Bo met Bo", "entities": [{"name": "Bo", "type": "p", "pos": [0, 2]},
        {"name": "Bo", "type": "p", "pos": [0, 2]}, {"name": "Bo", "type": "p", "pos": [7, 9]},
        {"name": "Bo", "type": "q", "pos": [0, 2]}]}]"#;
    for (format, content) in
        [(SPANS, spans), ("kind = \"gliner\"", tokens), ("kind = \"instructuie\"", pieces)]
    {
        let (example, notes) = only(format, "", content);
        let expected =
            [("Bo", "p", Some((0, 2))), ("Bo", "p", Some((7, 9))), ("Bo", "q", Some((0, 2)))];
        assert_eq!(found(&example), expected, "{format}");
        assert_eq!(notes.count(&Note::RepeatedEntity), 1, "{format}");
        let shown = notes.to_string();
        assert!(
            shown.starts_with("1 x repeated entities (kept once) (first at ")
                && shown.ends_with("file:1)\n")
        );
    }
}

#[test]
fn labels_of_one_type_are_one_entity() {
    let format =
        "kind = \"columns\"\nseparator = \" \"\ntoken = 0\ntags = [1, 2]\nscheme = \"bio\"";
    let types = "types = { GPE = \"place\", LOC = \"place\" }";
    let (example, notes) = only(format, types, "Ruvel B-GPE B-LOC\nValley I-GPE I-LOC\n");
    assert_eq!(found(&example), [("Ruvel Valley", "place", Some((0, 12)))]);
    assert_eq!(notes.count(&Note::RepeatedEntity), 1);
}

#[test]
fn a_query_asked_again_is_asked_once() {
    let turns = [
        ("human", "Text: Jo met Jo"),
        ("gpt", "I've read this text."),
        ("human", "What describes person in the text?"),
        ("gpt", "[\"Jo\"]"),
        ("human", "What describes person in the text?"),
        ("gpt", "[\"Jo\", \"Jo\", \"Al\", \"Al\"]"),
    ];
    let turns = turns.map(|(from, value)| serde_json::json!({"from": from, "value": value}));
    let (example, notes) =
        only(CONVERSATIONS, "", &serde_json::json!({"conversations": turns}).to_string());
    assert_eq!(
        found(&example),
        [("Jo", "person", Some((0, 2))), ("Jo", "person", Some((7, 9))), ("Al", "person", None)]
    );
    assert_eq!(example.unwrap().queries, ["person"]);
    let counts = [Note::RepeatedQuery, Note::RepeatedEntity, Note::MentionNotInText]
        .map(|note| notes.count(&note));
    assert_eq!(counts, [1, 2, 1]);
}

#[test]
fn mentions_without_a_position_take_what_is_left() {
    let content = r#"[{"sentence": "Bo saw Bo", "entities": [{"name": "Bo", "type": "a"},
        {"name": "Bo", "type": "a", "pos": [0, 2]}, {"name": "Bo", "type": "a"}, {"name": "Bo", "type": "b"}]}]"#;
    let (example, notes) = only("kind = \"instructuie\"", "", content);
    assert_eq!(
        found(&example),
        [("Bo", "a", Some((7, 9))), ("Bo", "a", Some((0, 2))), ("Bo", "b", Some((0, 2)))]
    );
    assert_eq!((notes.count(&Note::WrongPosition), notes.count(&Note::RepeatedEntity)), (3, 1));
}

#[test]
fn blanks_at_the_ends_are_cut_off_and_blanks_are_no_entity() {
    let row = r#"{"text": "a  Bo \nmet\u00a0Al\u200b.", "entities": [[2, 7, "p"], [10, 14, "p"]]}"#;
    let (example, notes) = only(SPANS, "", row);
    assert_eq!(found(&example), [("Bo", "p", Some((3, 5))), ("Al", "p", Some((11, 13)))]);
    assert_eq!(notes.count(&Note::BlankEdges), 2);

    let row =
        r#"{"text": "a  Bo \n", "entities": [[1, 3, "p"], [3, 5, "p"], [5, 7, "q"], [4, 4, "r"]]}"#;
    let (items, _) = items(&dataset(SPANS, ""), row);
    let errors: Vec<&str> = items.iter().map(|item| item.as_ref().unwrap_err().as_str()).collect();
    assert_eq!(
        errors,
        [
            "file:1: span 1..3 of `p` contains only white space (`  `)",
            "file:1: span 5..7 of `q` contains only white space (` \\n`)",
            "file:1: span 4..4 of `r` is empty",
        ]
    );
}

#[test]
fn blank_tokens_are_no_mention() {
    let (example, notes) =
        only(COLUMNS, "types = \"as-written\"", "\u{a0} B-x\nBo B-x\n\u{a0} I-x\n");
    assert_eq!(found(&example), [("Bo", "x", Some((2, 4)))]);
    assert_eq!(notes.count(&Note::EmptyMention), 1);
}

#[test]
fn offsets_count_what_the_description_says() {
    let plain = r#"{"text": "🚀🚀 Zoë ran", "entities": [[5, 8, "p"]]}"#;
    let stated = r#"{"text": "🚀🚀 Zoë ran", "entities": [{"start": 5, "end": 8, "label": "p", "text": "Zoë"}]}"#;
    for row in [plain, stated] {
        let (example, _) = only(&format!("{SPANS}\noffsets = \"utf-16\""), "", row);
        assert_eq!(found(&example), [("Zoë", "p", Some((3, 6)))]);
    }
    let bytes = plain.replace("5, 8", "9, 13");
    assert_eq!(found(&only(&format!("{SPANS}\noffsets = \"bytes\""), "", &bytes).0).len(), 1);
    assert_eq!(
        only(SPANS, "", stated).0.unwrap_err(),
        "file:1: span 5..8 is `ë r`, not `Zoë`; the offsets fit in UTF-16 code units: set `offsets = \"utf-16\"` in the \
         description's `[format]`"
    );
    assert_eq!(
        only(&format!("{SPANS}\noffsets = \"utf-16\""), "", &plain.replace("5, 8", "3, 5"))
            .0
            .unwrap_err(),
        "file:1: span 3..5 of `p` is not inside the text of 12 UTF-16 code units, or cuts a character"
    );
}

#[test]
fn a_position_in_another_unit_is_not_looked_for() {
    let content =
        r#"[{"sentence": "Bo 🚀 Bo", "entities": [{"name": "Bo", "type": "p", "pos": [6, 8]}]}]"#;
    let (example, notes) = only("kind = \"instructuie\"", "", content);
    assert_eq!(found(&example), [("Bo", "p", Some((5, 7)))]);
    assert!(notes.to_string().starts_with(
        "1 x offsets in UTF-16 code units (read in that unit; set `offsets = \"utf-16\"`"
    ));
    let (example, notes) = only("kind = \"instructuie\"\noffsets = \"utf-16\"", "", content);
    assert_eq!(found(&example), [("Bo", "p", Some((5, 7)))]);
    assert!(notes.is_empty());
}

#[test]
fn gliner_asks_the_types_that_it_lists() {
    let content = r#"[{"tokenized_text": ["Bo"], "ner": [[0, 0, "p"]], "ner_negatives": ["date", "date", "p"]},
        {"tokenized_text": ["Al"], "ner": [], "ner_labels": ["p", "river"], "ner_negatives": null}]"#;
    let (items, notes) = items(&dataset("kind = \"gliner\"", ""), content);
    assert_eq!(items[0].as_ref().unwrap().queries, ["p", "date"]);
    assert_eq!(items[1].as_ref().unwrap().queries, ["p", "river"]);
    assert_eq!(notes.count(&Note::RepeatedQuery), 2);
}

/// The time grows with the length of the text, not with length times spans, which would take hours
/// here.
#[test]
fn a_text_may_have_many_spans() {
    let num_spans = 400_000;
    let entities: Vec<_> =
        (0..num_spans).map(|k| serde_json::json!([2 + 11 * k, 7 + 11 * k, "p"])).collect();
    let text = format!("é {}", "Okart saß. ".repeat(num_spans));
    let (example, _) =
        only(SPANS, "", &serde_json::json!({"text": text, "entities": entities}).to_string());
    assert_eq!(found(&example).len(), num_spans);
}
