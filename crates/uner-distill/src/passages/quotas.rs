//! Divides a sample among subsets.

/// The number of passages to draw from each subset. In total they are `total`, or all passages if
/// there are fewer.
///
/// Each subset gets its share by weight, rounded by largest remainders (equal remainders: the
/// larger weight, then the first). A subset with fewer passages gives all of them, and the rest is
/// divided among the others in the same way.
pub(super) fn quotas(total: usize, weights: &[f64], sizes: &[usize]) -> Vec<usize> {
    let mut quotas = vec![0; sizes.len()];
    let mut left = total.min(sizes.iter().sum());
    let mut open: Vec<usize> = (0..sizes.len()).filter(|&subset| sizes[subset] > 0).collect();
    while !open.is_empty() {
        let shares = largest_remainders(left, &open, weights);
        let is_short = |at: usize| shares[at] > sizes[open[at]];
        let short: Vec<usize> = (0..open.len()).filter(|&at| is_short(at)).collect();
        if short.is_empty() {
            open.iter().zip(shares).for_each(|(&subset, share)| quotas[subset] = share);
            break;
        }
        for at in short.into_iter().rev() {
            let subset = open.remove(at);
            quotas[subset] = sizes[subset];
            left -= sizes[subset];
        }
    }
    quotas
}

/// Divides `total` among the subsets in `open`, by weight.
fn largest_remainders(total: usize, open: &[usize], weights: &[f64]) -> Vec<usize> {
    let sum: f64 = open.iter().map(|&subset| weights[subset]).sum();
    let exact: Vec<f64> =
        open.iter().map(|&subset| total as f64 * (weights[subset] / sum)).collect();
    let mut shares: Vec<usize> = exact.iter().map(|share| share.floor() as usize).collect();
    let mut order: Vec<usize> = (0..open.len()).collect();
    let remainder = |at: usize| exact[at] - exact[at].floor();
    order.sort_by(|&a, &b| {
        let by_weight = weights[open[b]].total_cmp(&weights[open[a]]);
        remainder(b).total_cmp(&remainder(a)).then(by_weight)
    });
    let left = total.saturating_sub(shares.iter().sum());
    order.iter().cycle().take(left).for_each(|&at| shares[at] += 1);
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_by_weight_and_rounded_by_largest_remainders() {
        let many = [1_000; 3];
        assert_eq!(quotas(10, &[1.0, 1.0, 2.0], &many), [3, 2, 5]);
        assert_eq!(quotas(8, &[1.0, 1.0, 2.0], &many), [2, 2, 4]);
        assert_eq!(quotas(7, &[0.2, 0.3, 0.5], &many), [1, 2, 4]);
        assert_eq!(quotas(1, &[1.0, 3.0, 3.0], &many), [0, 1, 0]);
        assert_eq!(quotas(0, &[1.0, 3.0, 3.0], &many), [0, 0, 0]);
    }

    #[test]
    fn what_a_small_subset_lacks_is_divided_among_the_others() {
        assert_eq!(quotas(100, &[1.0, 1.0, 2.0], &[5, 1_000, 1_000]), [5, 32, 63]);
        // The second is exhausted only by what the first lacks.
        assert_eq!(quotas(100, &[2.0, 1.0, 1.0], &[10, 30, 1_000]), [10, 30, 60]);
        assert_eq!(quotas(100, &[1.0, 1.0], &[20, 30]), [20, 30]);
        assert_eq!(quotas(100, &[1e9, 1.0], &[0, 300]), [0, 100]);
        assert_eq!(quotas(100, &[], &[]), [0; 0]);
    }

    #[test]
    fn weights_by_size_are_shares_by_size() {
        let sizes = [1_000, 2_000, 7_000];
        assert_eq!(quotas(10, &sizes.map(|size| size as f64), &sizes), [1, 2, 7]);
        assert_eq!(quotas(10_000, &sizes.map(|size| size as f64), &sizes), sizes);
    }

    proptest! {
        #[test]
        fn quotas_add_up_and_no_subset_gives_more_than_it_has(
            total in 0_usize..10_000,
            subsets in prop::collection::vec((1e-3_f64..1e3, 0_usize..2_000), 1..30),
        ) {
            let (weights, sizes): (Vec<f64>, Vec<usize>) = subsets.into_iter().unzip();
            let found = quotas(total, &weights, &sizes);
            prop_assert_eq!(found.iter().sum::<usize>(), total.min(sizes.iter().sum()));
            prop_assert!(found.iter().zip(&sizes).all(|(quota, size)| quota <= size));
            // Subsets that are not exhausted have shares by weight, but for rounding.
            let open: Vec<usize> =
                (0..sizes.len()).filter(|&subset| found[subset] < sizes[subset]).collect();
            for (&a, &b) in open.iter().zip(open.iter().skip(1)) {
                let expected = found[a] as f64 / weights[a] * weights[b];
                let slack = 1.0 + weights[b] / weights[a];
                prop_assert!((found[b] as f64 - expected).abs() <= slack, "{:?}", found);
            }
        }
    }
}
