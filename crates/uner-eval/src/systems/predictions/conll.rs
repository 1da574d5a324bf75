//! Reads rows of tokens and tags, with uner's reader of column files.

use std::path::Path;

use uner_data::format::{Columns, Format};
use uner_data::{Dataset, Example, Span};

use super::characters::{Characters, tokens};
use super::file::{Location, Mention, Position, Prediction, PredictionFile};
use crate::EvalError;

pub(super) fn read(path: &Path) -> Result<PredictionFile, EvalError> {
    let dataset = Dataset::of_file(path, Format::Columns(Columns::detect(path)?));
    let mut file = PredictionFile::default();
    for (index, example) in uner_data::read(&dataset, "file", Path::new(""))?.enumerate() {
        let example = example?;
        let prediction = prediction(&example, &mut file);
        let location = Location::Sentence(index + 1);
        file.push(Prediction { location, ..prediction }, Some(&example.text));
    }
    Ok(file)
}

fn prediction(example: &Example, file: &mut PredictionFile) -> Prediction {
    let text = Characters::new(&example.text);
    let tokens = tokens(&example.text);
    let mentions = example.entities.iter().filter_map(|entity| {
        let span = entity.span?;
        let position = Position::Text(text.position(span)?, Some(range(&tokens, span)));
        Some(Mention { label: file.label(&entity.entity_type), position, score: None })
    });
    let mentions = mentions.collect();
    let num_tokens = Some(tokens.len());
    Prediction { text: Some(text.key()), num_tokens, mentions, ..Prediction::default() }
}

/// The tokens that a span covers.
fn range(tokens: &[Span], span: Span) -> std::ops::Range<u32> {
    let start = tokens.partition_point(|token| token.end <= span.start);
    let end = tokens.partition_point(|token| token.start < span.end);
    start as u32..end as u32
}
