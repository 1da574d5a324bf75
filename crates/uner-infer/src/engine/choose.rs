//! Chooses a token from logits.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The most probable token; of equal ones the first.
    Greedy,
    /// At random, by probability.
    Random {
        /// Logits are divided by it. Above 0; lower values prefer probable tokens.
        temperature: f64,
        /// Only the most probable tokens whose probabilities add up to this are drawn (nucleus
        /// sampling, Holtzman et al. 2020).
        top_p: f64,
        /// The draws of a prompt depend on this, on the prompt and on its passage.
        seed: u64,
    },
}

/// The choice for one prompt: which of its tokens it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    pub(super) passage: usize,
    pub(super) prompt: usize,
    pub(super) token: usize,
}

/// Returns the index of the chosen logit and its probability among all of them; `None` if a logit
/// is not finite.
pub(super) fn choose(logits: &[f32], sampling: Sampling, draw: Draw) -> Option<(usize, f64)> {
    let is_finite = |group: &[f32]| group.iter().fold(true, |all, value| all & value.is_finite());
    if !logits.chunks(1024).all(is_finite) {
        return None;
    }
    let pairs = logits.iter().enumerate();
    let (first, &largest) = pairs.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    let weight = |logit: f32| f64::from(logit - largest).exp();
    let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
    let index = match sampling {
        Sampling::Greedy => first,
        Sampling::Random { temperature, top_p, seed } => {
            let weights =
                logits.iter().map(|&logit| (f64::from(logit - largest) / temperature).exp());
            drawn(&weights.collect::<Vec<_>>(), top_p, uniform(seed, draw))
        }
    };
    Some((index, weight(logits[index]) / total))
}

/// The index that `uniform`, from 0 to 1, falls on if the largest weights come first.
fn drawn(weights: &[f64], top_p: f64, uniform: f64) -> usize {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let limit = top_p * weights.iter().sum::<f64>();
    let mut nucleus = 0.0;
    let count = order.iter().position(|&index| {
        nucleus += weights[index];
        nucleus >= limit
    });
    let candidates = &order[..=count.unwrap_or(order.len() - 1)];
    let mut rest = uniform * nucleus;
    let chosen = candidates.iter().find(|&&index| {
        rest -= weights[index];
        rest < 0.0
    });
    // Rounding may leave a last bit of `rest`.
    chosen.copied().unwrap_or(candidates[candidates.len() - 1])
}

fn uniform(seed: u64, Draw { passage, prompt, token }: Draw) -> f64 {
    let mut key = [0; 32];
    let numbers = [seed, passage as u64, prompt as u64, token as u64];
    key.chunks_exact_mut(8)
        .zip(numbers)
        .for_each(|(bytes, number)| bytes.copy_from_slice(&number.to_le_bytes()));
    ChaCha8Rng::from_seed(key).random()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAW: Draw = Draw { passage: 0, prompt: 0, token: 0 };

    #[test]
    fn greedy_takes_the_first_of_the_most_probable() {
        let (index, probability) = choose(&[0.0, 1.0, 1.0], Sampling::Greedy, DRAW).unwrap();
        let e = std::f64::consts::E;
        assert!(index == 1 && (probability - e / (2.0 * e + 1.0)).abs() < 1e-12);
        assert_eq!(choose(&[0.0, f32::NAN], Sampling::Greedy, DRAW), None);
        assert_eq!(choose(&[f32::NEG_INFINITY, 0.0], Sampling::Greedy, DRAW), None);
    }

    #[test]
    fn draws_follow_the_probabilities_of_the_nucleus() {
        let logits = [0.6f32.ln(), 0.1f32.ln(), 0.3f32.ln()];
        let count = |top_p: f64| {
            let mut counts = [0; 3];
            for token in 0..4000 {
                let sampling = Sampling::Random { temperature: 1.0, top_p, seed: 7 };
                counts[choose(&logits, sampling, Draw { token, ..DRAW }).unwrap().0] += 1;
            }
            counts
        };
        let [first, second, third] = count(1.0);
        // Three standard deviations of a binomial of 4,000 draws are at most 95.
        assert!((first - 2400i32).abs() < 95 && (second - 400i32).abs() < 95, "{first} {second}");
        assert_eq!(first + second + third, 4000);
        assert_eq!(count(0.5), [4000, 0, 0]);
        assert_eq!(count(0.7)[1], 0);
        let cold = Sampling::Random { temperature: 0.01, top_p: 1.0, seed: 7 };
        assert_eq!(choose(&logits, cold, DRAW).unwrap().0, 0);
    }
}
