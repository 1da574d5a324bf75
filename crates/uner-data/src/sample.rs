//! Samples passage–query pairs. UniversalNER measures on up to 200,000 pairs of a dataset.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{Example, stream::stream};

/// Keeps `count` of the queries of all examples, or all if there are not more. `total` is their
/// number, which an earlier pass over the examples has counted. Every choice of `count` pairs is
/// equally likely, and equal seeds choose the same pairs (selection sampling: Fan, Muller and
/// Rezucha 1962). Examples and queries stay in order; an example without a kept query is left out.
/// Entities stay, so those of other types must not be counted as missed. Errors are passed on.
///
/// ```
/// use uner_data::{DataError, Example, sample_pairs};
///
/// let mut example = Example::new("0".to_owned(), "Tim Cook".to_owned(), Vec::new());
/// example.queries = ["person", "city", "song"].map(str::to_owned).to_vec();
/// let examples = vec![Ok::<_, DataError>(example)];
/// let kept: Vec<Example> = sample_pairs(examples, 3, 2, 0).collect::<Result<_, _>>()?;
/// assert_eq!(kept[0].queries.len(), 2);
/// # Ok::<(), DataError>(())
/// ```
pub fn sample_pairs<E>(
    examples: impl IntoIterator<Item = Result<Example, E>>,
    total: usize,
    count: usize,
    seed: u64,
) -> impl Iterator<Item = Result<Example, E>> {
    let mut selection =
        Selection { left: total, needed: count.min(total), rng: stream(*b"evalpair", seed, 0, 0) };
    examples.into_iter().filter_map(move |example| match example {
        Ok(mut example) => {
            example.queries.retain(|_| selection.keeps_next());
            (!example.queries.is_empty()).then_some(Ok(example))
        }
        Err(error) => Some(Err(error)),
    })
}

struct Selection {
    /// Pairs that are not yet decided.
    left: usize,
    /// Pairs that are still to be kept.
    needed: usize,
    rng: ChaCha8Rng,
}

impl Selection {
    /// Whether the next pair is kept. Of the pairs left, each is equally likely to be one of those
    /// needed.
    fn keeps_next(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        let kept = self.rng.random_range(0..self.left) < self.needed;
        self.left -= 1;
        self.needed -= usize::from(kept);
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Examples with 0 to 4 queries; a query names its example and its place.
    fn examples(number: usize) -> Vec<Example> {
        let example = |index: usize| {
            let mut example = Example::new(index.to_string(), "text".to_owned(), Vec::new());
            example.queries = (0..index % 5).map(|place| format!("{index}.{place}")).collect();
            example
        };
        (0..number).map(example).collect()
    }

    fn pairs(examples: &[Example]) -> Vec<String> {
        examples.iter().flat_map(|example| example.queries.clone()).collect()
    }

    fn sampled(examples: &[Example], count: usize, seed: u64) -> Vec<Example> {
        let total = pairs(examples).len();
        let results = examples.iter().cloned().map(Ok::<Example, Infallible>);
        sample_pairs(results, total, count, seed).map(|example| example.unwrap()).collect()
    }

    #[test]
    fn exactly_as_many_pairs_are_kept_in_order() {
        let all = examples(200);
        assert_eq!(pairs(&all).len(), 400);
        for count in [0, 1, 57, 399, 400, 1_000] {
            let kept = sampled(&all, count, 1);
            let found = pairs(&kept);
            assert_eq!(found.len(), count.min(400));
            let of_all: Vec<String> =
                pairs(&all).into_iter().filter(|pair| found.contains(pair)).collect();
            assert_eq!(found, of_all);
            assert!(kept.iter().all(|example| !example.queries.is_empty()));
        }
    }

    #[test]
    fn the_seed_decides() {
        let all = examples(200);
        assert_eq!(sampled(&all, 100, 1), sampled(&all, 100, 1));
        assert_ne!(sampled(&all, 100, 1), sampled(&all, 100, 2));
        assert_eq!(pairs(&sampled(&all, 400, 1)), pairs(&all));
    }

    #[test]
    fn every_pair_is_equally_likely() {
        let all = examples(5);
        let mut counts = vec![0; 10];
        for seed in 0..2_000 {
            for pair in pairs(&sampled(&all, 3, seed)) {
                counts[pairs(&all).iter().position(|other| *other == pair).unwrap()] += 1;
            }
        }
        // 600 expected with a standard deviation of 20.
        assert!(counts.iter().all(|count| (500..700).contains(count)), "{counts:?}");
    }

    #[test]
    fn errors_are_passed_on() {
        let kept: Vec<Result<Example, &str>> =
            sample_pairs([Err("bad"), Ok(examples(2).remove(1))], 1, 1, 0).collect();
        assert_eq!(kept[0], Err("bad"));
        assert_eq!(kept[1].as_ref().unwrap().queries, ["1.0"]);
    }
}
