//! Keyed shuffles. Every draw has its own random stream, keyed by its purpose, so that no draw
//! depends on the number of draws before it.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A permutation of `0..n` from the stream of (`seed`, `epoch`, `index`). Index 0 is the order of
/// the conversations of an epoch, `i + 1` the order of the queries of conversation `i`.
pub fn permutation(n: usize, seed: u64, epoch: u64, index: u64) -> Vec<usize> {
    let mut key = [0; 32];
    for (bytes, value) in key.chunks_exact_mut(8).zip([seed, epoch, index]) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut ChaCha8Rng::from_seed(key));
    order
}

#[cfg(test)]
mod tests {
    use super::permutation;

    #[test]
    fn a_permutation_is_complete_repeatable_and_differs_by_every_key() {
        let order = permutation(50, 1, 2, 3);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(permutation(50, 1, 2, 3), order);
        for other in [permutation(50, 0, 2, 3), permutation(50, 1, 0, 3), permutation(50, 1, 2, 0)]
        {
            assert_ne!(other, order);
        }
    }
}
