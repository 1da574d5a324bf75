//! Tests of the written rows. Round trips are in `convert`.

use super::*;
use crate::{Entity, Example, Span};

#[test]
fn formats_have_names() {
    for format in ExportFormat::all() {
        assert_eq!(format.name().parse(), Ok(format));
    }
    let problem = "label_studio".parse::<ExportFormat>().unwrap_err();
    assert!(problem.contains("`label-studio`?"), "{problem}");
}

/// An example with an overlap, an absent type, and characters of every length.
fn sample() -> Example {
    let entity = |text: &str, start: usize, entity_type: &str| {
        let end = start + text.chars().count();
        let (text, entity_type) = (text.to_owned(), entity_type.to_owned());
        Entity { text, entity_type, span: Some(Span { start, end }) }
    };
    let entities = vec![
        entity("Zoë", 2, "person"),
        entity("New York City", 12, "city"),
        entity("York", 16, "city"),
    ];
    let mut example =
        Example::new("7".to_owned(), "🚀 Zoë's in \tNew York City.".to_owned(), entities);
    example.queries.push("sports team".to_owned());
    example
}

fn written(format: ExportFormat) -> (String, Losses) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let exported = export([sample()], &path, format, Tokens::Words).unwrap();
    let file = if path.is_dir() { path.join("0000001-7.ann") } else { path };
    (fs_err::read_to_string(file).unwrap(), exported.losses)
}

#[test]
fn strings_have_the_escapes_of_python() {
    // Of `json.dumps("a\"\\\n\t\x7fé🚀")`.
    let expected = r#""a\"\\\n\t\u007f\u00e9\ud83d\ude80""#;
    assert_eq!(records::python_string("a\"\\\n\t\u{7f}é🚀"), expected);
}
