//! The most likely tags of tokens, as entities.

use std::ops::Range;

/// The entities of one type in a passage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tagged {
    /// The tokens of each entity, and its probability.
    pub(super) entities: Vec<(Range<usize>, f64)>,
    /// The probability that there are none.
    pub(super) empty_probability: f64,
}

/// Reads the entities from the logarithms of the probabilities of outside, begin and inside, for
/// each token. Each token has its most likely tag; inside after outside begins an entity, as in the
/// default mode of seqeval. The probability of an entity is that of its tags, and of no further
/// token inside.
pub(super) fn tagged(log_probabilities: &[f32]) -> Tagged {
    let tokens: Vec<[f64; 3]> = log_probabilities
        .chunks_exact(3)
        .map(|token| [token[0], token[1], token[2]].map(f64::from))
        .collect();
    let empty_probability = tokens.iter().map(|[outside, ..]| outside).sum::<f64>().exp();
    let is_outside = |&[outside, begin, inside]: &[f64; 3]| outside >= begin && outside >= inside;
    let goes_on = |&[outside, begin, inside]: &[f64; 3]| inside > outside && inside > begin;
    let mut entities = Vec::new();
    let mut start = 0;
    while let Some(first) = tokens.iter().skip(start).position(|token| !is_outside(token)) {
        let first = start + first;
        let more = tokens[first + 1..].iter().take_while(|token| goes_on(token)).count();
        start = first + 1 + more;
        let begin = tokens[first][1].max(tokens[first][2]);
        let inside: f64 = tokens[first + 1..start].iter().map(|[.., inside]| inside).sum();
        let end = tokens.get(start).map_or(1.0, |[.., inside]| 1.0 - inside.exp());
        entities.push((first..start, (begin + inside).exp() * end));
    }
    Tagged { entities, empty_probability }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tokens: &[[f32; 3]]) -> Tagged {
        tagged(&tokens.iter().flatten().map(|share| share.ln()).collect::<Vec<_>>())
    }

    const O: [f32; 3] = [0.8, 0.1, 0.1];
    const B: [f32; 3] = [0.2, 0.7, 0.1];
    const I: [f32; 3] = [0.1, 0.3, 0.6];

    #[test]
    fn tags_become_entities() {
        let ranges = |tokens: &[[f32; 3]]| {
            read(tokens).entities.into_iter().map(|(tokens, _)| tokens).collect::<Vec<_>>()
        };
        assert_eq!(ranges(&[B, I, O, B, B, I, I]), [0..2, 3..4, 4..7]);
        assert_eq!(ranges(&[O, I, I, O, I]), [1..3, 4..5], "inside begins an entity");
        assert!(ranges(&[]).is_empty());
    }

    #[test]
    fn probabilities_are_those_of_the_tags() {
        let Tagged { entities, empty_probability } = read(&[B, I, O, B]);
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found}");
        close(entities[0].1, 0.7 * 0.6 * 0.9);
        close(entities[1].1, 0.7);
        close(empty_probability, 0.2 * 0.1 * 0.8 * 0.2);
        close(read(&[]).empty_probability, 1.0);
    }
}
