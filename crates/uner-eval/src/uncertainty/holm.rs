//! Holm's correction for several tests.

use super::UncertaintyError;

/// Adjusted p-values of several tests, in the order of the input: rejecting those below a level
/// keeps the probability of any false rejection below it (Holm 1979, "A simple sequentially
/// rejective multiple test procedure"). The tests may depend on each other.
///
/// With the p-values in ascending order, the adjusted value of the `i`-th of `n` (from 1) is the
/// largest `(n - j + 1) · p_j` of `j ≤ i`, at most 1.
///
/// # Errors
/// A p-value is not a number from 0 to 1.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, UncertaintyError> {
    if let Some(index) = p_values.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(UncertaintyError::PValue { index, value: p_values[index] });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let (mut adjusted, mut largest) = (vec![0.0; p_values.len()], 0.0_f64);
    for (rank, index) in order.into_iter().enumerate() {
        let remaining = (p_values.len() - rank) as f64;
        largest = largest.max(remaining * p_values[index]).min(1.0);
        adjusted[index] = largest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_that_are_not_probabilities_are_refused() {
        for value in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            let error = holm(&[0.5, value]).unwrap_err();
            assert!(matches!(error, UncertaintyError::PValue { index: 1, .. }), "{error}");
        }
        assert_eq!(holm(&[]), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn adjusted_values_keep_the_order(p_values in prop::collection::vec(0.0..=1.0, 1..30)) {
            let adjusted = holm(&p_values).unwrap();
            let count = p_values.len() as f64;
            for (&p, &adjusted) in p_values.iter().zip(&adjusted) {
                prop_assert!(p <= adjusted && adjusted <= (count * p).min(1.0));
            }
            for i in 0..p_values.len() {
                for j in 0..p_values.len() {
                    prop_assert!(p_values[i] > p_values[j] || adjusted[i] <= adjusted[j]);
                }
            }
            let reversed: Vec<f64> = p_values.iter().rev().copied().collect();
            let mut backwards = holm(&reversed).unwrap();
            backwards.reverse();
            prop_assert_eq!(backwards, adjusted);
        }
    }
}
