//! Merges the entities of overlapping windows.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
};

use crate::{
    predictions::{PredictedEntity, sort},
    text::is_blank,
};

/// Merges the entities found in each window of a text. Their positions are in the window's text;
/// those of the result are in `text`.
///
/// An entity is a type at a span: found in several windows, it is one entity, with the highest
/// probability. At an end of a window that cuts the text, a mention may be cut too. Therefore an
/// entity with nothing but blanks between it and such an end is ignored, if it is inside another
/// window with more than blanks on both sides: that window has seen the whole mention. A mention
/// that no window has whole, because it is longer than the overlap, keeps the parts that were
/// found.
///
/// # Panics
/// If there is not one list of entities for each window, or a window is outside the text.
pub fn merge(
    text: &str,
    windows: &[Range<usize>],
    found: Vec<Vec<PredictedEntity>>,
) -> Vec<PredictedEntity> {
    assert_eq!(windows.len(), found.len(), "a list of entities for each window");
    let mut merged: BTreeMap<(usize, usize, String), PredictedEntity> = BTreeMap::new();
    let (mut counted, mut characters) = (0, 0);
    for (window, entities) in windows.iter().zip(found) {
        characters += text[counted..window.start].chars().count();
        counted = window.start;
        for entity in entities {
            let entity = moved(entity, window.start, characters);
            let is_cut = touches(text, window, &entity.bytes);
            if !is_cut || !windows.iter().any(|other| surrounds(text, other, &entity.bytes)) {
                keep(&mut merged, entity);
            }
        }
    }
    let mut entities: Vec<PredictedEntity> = merged.into_values().collect();
    sort(&mut entities);
    entities
}

/// An entity of a window, as an entity of the text.
fn moved(mut entity: PredictedEntity, bytes: usize, characters: usize) -> PredictedEntity {
    entity.bytes = entity.bytes.start + bytes..entity.bytes.end + bytes;
    entity.span.start += characters;
    entity.span.end += characters;
    entity
}

/// Whether only blanks are between an entity and an end of its window that cuts the text.
fn touches(text: &str, window: &Range<usize>, entity: &Range<usize>) -> bool {
    let is_blank = |range: Range<usize>| text[range].chars().all(is_blank);
    (window.start > 0 && is_blank(window.start..entity.start))
        || (window.end < text.len() && is_blank(entity.end..window.end))
}

fn surrounds(text: &str, window: &Range<usize>, entity: &Range<usize>) -> bool {
    let contains = window.start <= entity.start && entity.end <= window.end;
    contains && !touches(text, window, entity)
}

fn keep(merged: &mut BTreeMap<(usize, usize, String), PredictedEntity>, entity: PredictedEntity) {
    let key = (entity.bytes.start, entity.bytes.end, entity.entity_type.clone());
    match merged.entry(key) {
        Entry::Vacant(place) => {
            place.insert(entity);
        }
        Entry::Occupied(mut place) => {
            if entity.probability > place.get().probability {
                place.insert(entity);
            }
        }
    }
}
