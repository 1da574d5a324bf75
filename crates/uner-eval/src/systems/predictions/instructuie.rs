//! Reads InstructUIE's answers: `type: name; type: name`, or `None`.

use std::path::Path;

use serde_json::Value;
use uner_data::{JsonRecord, JsonRecords};

use super::characters::Characters;
use super::file::{Location, Mention, Position, Prediction, PredictionFile};
use crate::EvalError;

pub(super) fn read(path: &Path) -> Result<PredictionFile, EvalError> {
    let mut file = PredictionFile::default();
    for record in JsonRecords::open(path, None)? {
        let JsonRecord { line, record, value } = record?;
        let location = Location::Line(line, record);
        let prediction =
            prediction(&value, &mut file).map_err(|problem| location.error(path, &problem))?;
        file.push(Prediction { location, ..prediction }, sentence(&value));
    }
    Ok(file)
}

/// The prediction of `{"Instance": {"sentence"}, "Prediction"}`. The instance's id is the number of
/// a sentence in a file of InstructUIE's, which says nothing about the examples.
fn prediction(record: &Value, file: &mut PredictionFile) -> Result<Prediction, String> {
    let answer = ["Prediction", "output"].iter().find_map(|key| record.get(*key)?.as_str());
    let answer = answer.ok_or("the record has no string `Prediction` (or `output`)")?;
    let (mut mentions, mut malformed) = (Vec::new(), false);
    for part in answer.split(';').map(str::trim) {
        match part.split_once(':').map(|(label, name)| (label.trim(), name.trim())) {
            _ if part.is_empty() || part.eq_ignore_ascii_case("none") => {}
            Some((label, name)) if !label.is_empty() && !name.is_empty() => {
                // As the metric does, which compares names with single spaces.
                let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
                let position = Position::Written(name);
                mentions.push(Mention { label: file.label(label), position, score: None });
            }
            _ => malformed = true,
        }
    }
    let text = sentence(record).map(|sentence| Characters::new(sentence).key());
    Ok(Prediction { text, mentions, malformed, ..Prediction::default() })
}

fn sentence(record: &Value) -> Option<&str> {
    record.get("Instance").unwrap_or(record).get("sentence")?.as_str()
}
