//! The most likely tags of tokens, as entities.
//!
//! The head's tags of one token do not depend on those of its neighbours. Only some sequences make
//! sense: *inside* does not follow *outside*, and an entity neither begins nor ends inside a word.
//! The probabilities are those of the head among these sequences. The best one is found by the
//! algorithm of Viterbi (1967), sums over all of them by forward and backward passes (Rabiner 1989,
//! "A Tutorial on Hidden Markov Models").

use std::ops::Range;

/// Outside, begin, inside.
const TAGS: [usize; 3] = [OUTSIDE, BEGIN, INSIDE];
const OUTSIDE: usize = 0;
const BEGIN: usize = 1;
const INSIDE: usize = 2;

/// The entities of one type in a passage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tagged {
    /// The tokens of each entity, and its probability.
    pub(super) entities: Vec<(Range<usize>, f64)>,
    /// The probability that there are none.
    pub(super) empty_probability: f64,
}

/// The logarithms of the probabilities of the tags of each token.
type Scores = Vec<[f64; 3]>;

/// Reads the entities from the logarithms of the probabilities of outside, begin and inside, for
/// each token. `goes_on` says whether a token goes on with the word of the token before it.
pub(super) fn tagged(log_probabilities: &[f32], goes_on: &[bool]) -> Tagged {
    let scores: Scores = log_probabilities
        .chunks_exact(3)
        .map(|token| [token[0], token[1], token[2]].map(f64::from))
        .collect();
    let passes = Passes::new(&scores, goes_on);
    let tags = best(&scores, goes_on);
    let mut entities: Vec<Range<usize>> = Vec::new();
    for (at, &tag) in tags.iter().enumerate() {
        match (tag, entities.last_mut()) {
            (BEGIN, _) => entities.push(at..at + 1),
            (INSIDE, Some(entity)) => entity.end = at + 1,
            _ => {}
        }
    }
    let with_probability = |entity: Range<usize>| {
        let probability = passes.entity(&scores, goes_on, entity.clone());
        (entity, probability)
    };
    let entities = entities.into_iter().map(with_probability).collect();
    Tagged { entities, empty_probability: passes.empty(&scores) }
}

/// Whether a token may have the tag `next` after a token with the tag `tag`.
fn may_follow(tag: usize, next: usize, goes_on: bool) -> bool {
    match (goes_on, tag) {
        (true, OUTSIDE) => next == OUTSIDE,
        (true, _) => next == INSIDE,
        (false, OUTSIDE) => next != INSIDE,
        (false, _) => true,
    }
}

/// The tags that may come before `next`.
fn before(next: usize, goes_on: bool) -> impl Iterator<Item = usize> {
    TAGS.into_iter().filter(move |&tag| may_follow(tag, next, goes_on))
}

/// The most likely tags.
fn best(scores: &Scores, goes_on: &[bool]) -> Vec<usize> {
    // A text begins as after a token outside.
    let mut total = [0.0, f64::NEG_INFINITY, f64::NEG_INFINITY];
    let mut choices = Vec::with_capacity(scores.len());
    for (token, &goes_on) in scores.iter().zip(goes_on) {
        let chosen = TAGS.map(|next| {
            let by_total = |a: &usize, b: &usize| total[*a].total_cmp(&total[*b]);
            before(next, goes_on).max_by(by_total)
        });
        let sum =
            |next: usize| chosen[next].map_or(f64::NEG_INFINITY, |tag| total[tag] + token[next]);
        total = TAGS.map(sum);
        choices.push(chosen);
    }
    let last = TAGS.into_iter().rev().max_by(|a, b| total[*a].total_cmp(&total[*b]));
    let mut tag = last.unwrap_or(OUTSIDE);
    let mut tags = vec![OUTSIDE; scores.len()];
    for (at, chosen) in choices.iter().enumerate().rev() {
        tags[at] = tag;
        tag = chosen[tag].unwrap_or(OUTSIDE);
    }
    tags
}

/// Sums over all sequences of tags, as logarithms.
struct Passes {
    /// Over the tokens before an index, by the tag of the last of them.
    before: Scores,
    /// Over the tokens from an index on, by the tag of the token before it.
    after: Scores,
}

impl Passes {
    fn new(scores: &Scores, goes_on: &[bool]) -> Self {
        let mut before_all = vec![[0.0, f64::NEG_INFINITY, f64::NEG_INFINITY]];
        for (at, (token, &goes_on)) in scores.iter().zip(goes_on).enumerate() {
            let sums = &before_all[at];
            let next = |next: usize| token[next] + sum(before(next, goes_on).map(|tag| sums[tag]));
            let next = TAGS.map(next);
            before_all.push(next);
        }
        let mut after = vec![[0.0; 3]; scores.len() + 1];
        for (at, (token, &goes_on)) in scores.iter().zip(goes_on).enumerate().rev() {
            let sums = after[at + 1];
            let next =
                |tag: usize| TAGS.into_iter().filter(move |&next| may_follow(tag, next, goes_on));
            after[at] = TAGS.map(|tag| sum(next(tag).map(|next| token[next] + sums[next])));
        }
        Self { before: before_all, after }
    }

    /// Over all sequences.
    fn total(&self) -> f64 {
        self.after[0][OUTSIDE]
    }

    fn empty(&self, scores: &Scores) -> f64 {
        (scores.iter().map(|token| token[OUTSIDE]).sum::<f64>() - self.total()).exp()
    }

    /// The probability that exactly these tokens are an entity.
    fn entity(&self, scores: &Scores, goes_on: &[bool], Range { start, end }: Range<usize>) -> f64 {
        let sums = &self.before[start];
        let first = sum(before(BEGIN, goes_on[start]).map(|tag| sums[tag])) + scores[start][BEGIN];
        let inside: f64 = scores[start + 1..end].iter().map(|token| token[INSIDE]).sum();
        let rest = match scores.get(end) {
            None => 0.0,
            Some(token) => {
                let tag = if end - start == 1 { BEGIN } else { INSIDE };
                let next = [OUTSIDE, BEGIN].into_iter();
                let next = next.filter(|&next| may_follow(tag, next, goes_on[end]));
                sum(next.map(|next| token[next] + self.after[end + 1][next]))
            }
        };
        (first + inside + rest - self.total()).exp()
    }
}

/// The logarithm of the sum of numbers that are given by their logarithms.
fn sum(logarithms: impl Iterator<Item = f64>) -> f64 {
    let add = |a: f64, b: f64| {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
    };
    logarithms.fold(f64::NEG_INFINITY, add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All sequences of tags that make sense, with their probabilities, which add up to 1.
    fn all(scores: &Scores, goes_on: &[bool]) -> Vec<(Vec<usize>, f64)> {
        let mut found = vec![(Vec::new(), 1.0)];
        for (token, &goes_on) in scores.iter().zip(goes_on) {
            let longer = |(tags, share): (Vec<usize>, f64)| {
                let last = tags.last().copied().unwrap_or(OUTSIDE);
                let next = TAGS.into_iter().filter(move |&next| may_follow(last, next, goes_on));
                next.map(move |next| ([&tags[..], &[next]].concat(), share * token[next].exp()))
                    .collect::<Vec<_>>()
            };
            found = found.into_iter().flat_map(longer).collect();
        }
        let total: f64 = found.iter().map(|(_, share)| share).sum();
        found.into_iter().map(|(tags, share)| (tags, share / total)).collect()
    }

    fn read(tokens: &[[f32; 3]], goes_on: &[bool]) -> Tagged {
        tagged(&tokens.iter().flatten().map(|share| share.ln()).collect::<Vec<_>>(), goes_on)
    }

    const O: [f32; 3] = [0.8, 0.1, 0.1];
    const B: [f32; 3] = [0.2, 0.7, 0.1];
    const I: [f32; 3] = [0.1, 0.3, 0.6];

    fn ranges(tokens: &[[f32; 3]], goes_on: &[bool]) -> Vec<Range<usize>> {
        read(tokens, goes_on).entities.into_iter().map(|(tokens, _)| tokens).collect()
    }

    #[test]
    fn tags_become_entities() {
        assert_eq!(ranges(&[B, I, O, B, B, I, I], &[false; 7]), [0..2, 3..4, 4..7]);
        assert!(ranges(&[], &[]).is_empty());
        assert_eq!(read(&[], &[]).empty_probability, 1.0);
    }

    #[test]
    fn entities_do_not_begin_or_end_inside_a_word() {
        let unsure = [0.5, 0.2, 0.3];
        assert_eq!(ranges(&[B, unsure, O], &[false; 3]), [0..1]);
        assert_eq!(ranges(&[B, unsure, O], &[false, true, false]), [0..2], "the whole word");
        assert!(ranges(&[O, B, O], &[false, true, false]).is_empty(), "too little for the word");
        assert_eq!(ranges(&[I, I, O], &[false; 3]), [0..2], "an entity has a beginning");
    }

    proptest! {
        #[test]
        fn all_is_as_over_every_sequence(
            shares in prop::collection::vec((0.01f32..1.0, 0.01f32..1.0, 0.01f32..1.0), 1..7),
            words in prop::collection::vec(any::<bool>(), 7),
        ) {
            let tokens: Vec<[f32; 3]> = shares
                .iter()
                .map(|(o, b, i)| [o / (o + b + i), b / (o + b + i), i / (o + b + i)])
                .collect();
            let goes_on: Vec<bool> =
                (0..tokens.len()).map(|at| at > 0 && words[at]).collect();
            let Tagged { entities, empty_probability } = read(&tokens, &goes_on);
            let scores: Scores =
                tokens.iter().map(|token| token.map(|share| f64::from(share.ln()))).collect();
            let all = all(&scores, &goes_on);
            let most = all.iter().map(|(_, share)| *share).fold(0.0, f64::max);
            let mut chosen = vec![OUTSIDE; tokens.len()];
            for (entity, probability) in &entities {
                chosen[entity.clone()].fill(INSIDE);
                chosen[entity.start] = BEGIN;
                let has = |tags: &[usize]| {
                    let inside = tags[entity.start + 1..entity.end].iter();
                    tags[entity.start] == BEGIN
                        && inside.clone().all(|tag| *tag == INSIDE)
                        && tags.get(entity.end) != Some(&INSIDE)
                };
                let expected: f64 =
                    all.iter().filter(|(tags, _)| has(tags)).map(|(_, share)| share).sum();
                prop_assert!((probability - expected).abs() < 1e-6, "{probability} {expected}");
            }
            let of_chosen = all.iter().find(|(tags, _)| *tags == chosen).map(|(_, share)| *share);
            prop_assert!(of_chosen.is_some_and(|share| share > most - 1e-6), "{of_chosen:?} {most}");
            let empty = all.iter().find(|(tags, _)| tags.iter().all(|tag| *tag == OUTSIDE));
            prop_assert!((empty_probability - empty.unwrap().1).abs() < 1e-6);
        }
    }
}
