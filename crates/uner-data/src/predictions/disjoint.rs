//! Selects entities that do not overlap, for formats in which a character has one entity.

use std::{cmp::Reverse, collections::BTreeMap};

use super::PredictedEntity;
use crate::Span;

/// For each entity, whether it is selected. Of overlapping entities the longest is selected, then
/// the most probable, then the first. An empty entity is not selected.
pub(super) fn disjoint(entities: &[PredictedEntity]) -> Vec<bool> {
    let spans = entities.iter().map(|entity| (entity.span, entity.probability.unwrap_or(0.0)));
    disjoint_spans(&spans.collect::<Vec<(Span, f64)>>())
}

/// The same for spans with their probabilities.
pub(crate) fn disjoint_spans(entities: &[(Span, f64)]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..entities.len()).collect();
    order.sort_by(|&a, &b| {
        let length = |at: usize| Reverse(entities[at].0.end - entities[at].0.start);
        let probability = |at: usize| entities[at].1;
        length(a).cmp(&length(b)).then(probability(b).total_cmp(&probability(a))).then(a.cmp(&b))
    });
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    let mut selected = vec![false; entities.len()];
    for at in order {
        let span = entities[at].0;
        // The selected entities are disjoint, so the last that starts before this end decides.
        let before = taken.range(..span.end).next_back();
        if span.start < span.end && before.is_none_or(|(_, end)| *end <= span.start) {
            taken.insert(span.start, span.end);
            selected[at] = true;
        }
    }
    selected
}
