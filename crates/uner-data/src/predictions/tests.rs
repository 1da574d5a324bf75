//! Every format is read back by the crate's own reader, and resumed after every byte.

use proptest::prelude::*;

use super::*;
use crate::{DataError, Dataset, Example, Notes, read, text::squeeze};

mod resume;
mod round_trip;

/// Entities at (mention, its occurrence, type, probability).
type Found<'a> = (&'a str, usize, &'a str, Option<f64>);

fn prediction(id: &str, text: &str, found: &[Found<'_>]) -> Prediction {
    let entities = found.iter().map(|(mention, occurrence, entity_type, probability)| {
        let (at, _) = text.match_indices(mention).nth(*occurrence).unwrap();
        PredictedEntity::at(text, at..at + mention.len(), entity_type, *probability).unwrap()
    });
    Prediction::new(id.to_owned(), text.to_owned(), entities.collect())
}

/// Overlaps, line breaks, characters of every length in UTF-8 and UTF-16, ids that are no names of
/// files, a text without entities and one without characters.
fn samples() -> Vec<Prediction> {
    let mut samples = vec![
        prediction(
            "a/../b.txt",
            "Zoë 🚀 saw New York City, not New\n York.",
            &[
                ("Zoë", 0, "person", Some(0.5)),
                ("New York", 0, "city", Some(0.25)),
                ("New York City", 0, "city", None),
                ("York", 0, "city", Some(1.0)),
                ("York City", 0, "sports team", Some(0.125)),
                ("New\n York", 0, "city", Some(0.75)),
            ],
        ),
        prediction("a/../b.txt", "", &[]),
        prediction(" \"x\"\n# id = 9", "Nothing \"here\"\\.\r\n\r\n", &[]),
        prediction(
            "..",
            "# id = Rome",
            &[("Rome", 0, "city", Some(0.5)), ("Rome", 0, "club", None)],
        ),
    ];
    samples[2].problem = Some("the text is\ntoo long".to_owned());
    samples
}

const FORMATS: [PredictionFormat; 5] = [
    PredictionFormat::JsonLines,
    PredictionFormat::Conll,
    PredictionFormat::SpacyJson,
    PredictionFormat::LabelStudio,
    PredictionFormat::Brat,
];

#[test]
fn formats_have_names() {
    let parsed = PredictionFormat::NAMES.map(|(name, _)| name.parse::<PredictionFormat>().unwrap());
    assert_eq!(parsed, FORMATS);
    assert!("jsonlines".parse::<PredictionFormat>().unwrap_err().contains("`json-lines`?"));
}

#[test]
fn an_entity_is_whole_characters_of_its_text() {
    assert!(PredictedEntity::at("é", 0..1, "x", None).is_none());
    assert!(PredictedEntity::at("é", 0..3, "x", None).is_none());
    let entity = PredictedEntity::at("éa", 2..3, "x", None).unwrap();
    assert_eq!((entity.span.start, entity.span.end), (1, 2));
}
