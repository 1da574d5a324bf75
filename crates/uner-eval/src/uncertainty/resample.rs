//! Draws resamples of the passages of a dataset.
//!
//! A resample of `n` passages is `n` passages drawn with replacement. Its sums depend only on how
//! often each distinct passage is drawn, so equal passages form a group, and the number of draws
//! from a group is drawn at once. This is the same distribution as drawing passage by passage:
//!
//! 1. Each of `n` draws is from group `g` with probability `n_g / n`, independently. So the numbers
//!    of draws `k_1, k_2, …` are multinomial, with `n` trials and these probabilities.
//! 2. A multinomial is a chain of binomials. A draw that is not from groups `1 … g-1` is from group
//!    `g` with probability `n_g / (n - n_1 - … - n_(g-1))`, and `n - k_1 - … - k_(g-1)` such draws
//!    are left. So `k_g`, given those before, is binomial with this number and probability.
//! 3. A draw that is from none of the groups is from each remaining passage with equal probability.
//!    So the passages of small groups can be drawn one by one.
//!
//! (Devroye 1986, "Non-Uniform Random Variate Generation", chapter XI.1.4, has the chain.) Short
//! passages have few entities: large datasets have few groups, and the time of a resample hardly
//! grows with the dataset.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution};

use super::counts::Sums;

/// Passages in a group from which on one binomial is faster than drawing them one by one.
pub(super) const MIN_GROUP: usize = 16;

/// The passages of a dataset, scored by `SYSTEMS` systems.
pub(super) struct Resampler<const SYSTEMS: usize> {
    /// Distinct passages with the size of their group, largest first.
    groups: Vec<([Sums; SYSTEMS], u64)>,
    /// All other passages.
    others: Vec<[Sums; SYSTEMS]>,
}

impl<const SYSTEMS: usize> Resampler<SYSTEMS> {
    /// Groups equal passages if there are at least `min_group` of them.
    pub(super) fn new(mut passages: Vec<[Sums; SYSTEMS]>, min_group: usize) -> Self {
        passages.sort_unstable();
        let (mut groups, mut others) = (Vec::new(), Vec::new());
        for group in passages.chunk_by(PartialEq::eq) {
            if group.len() >= min_group {
                groups.push((group[0], group.len() as u64));
            } else {
                others.extend_from_slice(group);
            }
        }
        groups.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        Self { groups, others }
    }

    /// The sums of all passages, for each system.
    pub(super) fn totals(&self) -> [Sums; SYSTEMS] {
        let mut totals = [Sums::default(); SYSTEMS];
        self.groups.iter().for_each(|(passage, size)| add(&mut totals, passage, *size));
        self.others.iter().for_each(|passage| add(&mut totals, passage, 1));
        totals
    }

    /// The sums of a resample, for each system.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> [Sums; SYSTEMS] {
        let mut totals = [Sums::default(); SYSTEMS];
        let in_groups: u64 = self.groups.iter().map(|(_, size)| size).sum();
        let mut passages = in_groups + self.others.len() as u64;
        let mut draws = passages;
        for (passage, size) in &self.groups {
            // The probability of the last group is exactly 1 if there are no other passages.
            let binomial = Binomial::new(draws, *size as f64 / passages as f64);
            let count = binomial.expect("a probability from 0 to 1").sample(rng);
            add(&mut totals, passage, count);
            draws -= count;
            passages -= size;
        }
        for _ in 0..draws {
            let index = rng.random_range(0..self.others.len() as u32);
            add(&mut totals, &self.others[index as usize], 1);
        }
        totals
    }
}

fn add<const SYSTEMS: usize>(totals: &mut [Sums; SYSTEMS], passage: &[Sums; SYSTEMS], count: u64) {
    for (total, passage) in totals.iter_mut().zip(passage) {
        *total += passage.times(count);
    }
}
