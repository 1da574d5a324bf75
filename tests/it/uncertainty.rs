//! Intervals, tests and corrections equal those of scipy and statsmodels on made-up counts
//! (`tests/fixtures/uncertainty/make.py`).

use serde_json::Value;
use uner_eval::uncertainty::{
    Counts, Interval, Resampling, approximate_randomization, bootstrap, bootstrap_difference,
    bootstrap_macro, holm, micro_f1,
};

use crate::shared::repository;

/// Both sides of a comparison are random. They may differ by so many standard deviations.
const DEVIATIONS: f64 = 5.0;

fn cases(name: &str) -> Vec<Value> {
    let path = repository().join("tests/fixtures/uncertainty").join(name);
    let file: Value = serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn counts(rows: &Value) -> Vec<Counts> {
    let rows: Vec<[u32; 4]> = serde_json::from_value(rows.clone()).unwrap();
    let counts = |[correct, partial, predicted, gold]: [u32; 4]| Counts {
        correct,
        partial,
        predicted,
        gold,
    };
    rows.into_iter().map(counts).collect()
}

fn resampling(expected: &Value) -> Resampling {
    let resamples = expected["resamples"].as_u64().unwrap() as usize;
    Resampling { resamples, level: expected["level"].as_f64().unwrap(), seed: 1 }
}

/// The interval must be scipy's but for the random resamples of both.
///
/// The `p`-quantile of `n` draws has the standard deviation `sqrt(p (1 - p) / n) / f`, where `f` is
/// the density at the quantile; their standard deviation has the relative one `1 / sqrt(2 n)`. The
/// F1 of hundreds of passages is close to normal, so `f` is the density of a normal variable at its
/// quantile, over the standard error. Both sides have `n` draws, hence the factor `sqrt(2)`.
fn assert_near(found: Interval, expected: &Value) {
    let number = |key: &str| expected[key].as_f64().unwrap();
    let deviation = number("standard_error");
    let draws = number("resamples");
    // The 2.5 % and the 5 % quantile of the standard normal distribution.
    let (tail, quantile) =
        if number("level") == 0.95 { (0.025, 1.959_964_f64) } else { (0.05, 1.644_854) };
    let density = (-quantile * quantile / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let of_quantile = (tail * (1.0 - tail) / draws).sqrt() / density * deviation;
    let of_deviation = deviation / (2.0 * draws).sqrt();
    for (key, found, spread) in [
        ("low", found.low, of_quantile),
        ("high", found.high, of_quantile),
        ("standard_error", found.standard_error, of_deviation),
    ] {
        let most = DEVIATIONS * 2.0_f64.sqrt() * spread;
        let difference = (found - number(key)).abs();
        assert!(difference <= most, "{key}: {found} differs from {expected} by over {most}");
    }
}

#[test]
fn intervals_are_those_of_scipy() {
    for case in cases("bootstrap.json") {
        let [a, b] = ["a", "b"].map(|key| counts(&case[key]));
        assert!((micro_f1(&a) - case["f1"].as_f64().unwrap()).abs() < 1e-12);
        let of_one = bootstrap(&a, &resampling(&case["interval"])).unwrap();
        assert_near(of_one, &case["interval"]);
        let of_both = bootstrap_difference(&a, &b, &resampling(&case["difference"])).unwrap();
        assert_near(of_both, &case["difference"]);
    }
}

#[test]
fn macro_intervals_are_those_of_scipy() {
    for case in cases("macro.json") {
        let datasets: Vec<Vec<Counts>> =
            case["datasets"].as_array().unwrap().iter().map(counts).collect();
        let datasets: Vec<&[Counts]> = datasets.iter().map(Vec::as_slice).collect();
        let found = bootstrap_macro(&datasets, &resampling(&case["interval"])).unwrap();
        assert_near(found, &case["interval"]);
    }
}

#[test]
fn exact_p_values_are_those_of_scipy() {
    for case in cases("randomization.json").iter().filter(|case| case["rounds"].is_null()) {
        let [a, b] = ["a", "b"].map(|key| counts(&case[key]));
        let found = approximate_randomization(&a, &b, 1 << a.len(), 0).unwrap();
        let expected = case["p_value"].as_f64().unwrap();
        assert!(found.is_exact && (found.p_value - expected).abs() < 1e-12, "{found:?} {expected}");
    }
}

/// A p-value from `n` random assignments has the standard deviation `sqrt(p (1 - p) / n)`.
#[test]
fn sampled_p_values_are_those_of_scipy() {
    for case in cases("randomization.json") {
        let Some(rounds) = case["rounds"].as_u64() else { continue };
        let [a, b] = ["a", "b"].map(|key| counts(&case[key]));
        let found = approximate_randomization(&a, &b, rounds as usize, 1).unwrap();
        let expected = case["p_value"].as_f64().unwrap();
        let most = DEVIATIONS * (2.0 * expected * (1.0 - expected) / rounds as f64).sqrt();
        assert!(!found.is_exact);
        assert!((found.p_value - expected).abs() <= most, "{found:?}, not {expected} ± {most}");
    }
}

#[test]
fn adjusted_p_values_are_those_of_statsmodels() {
    for case in cases("holm.json") {
        let [p_values, expected] = ["p_values", "adjusted"]
            .map(|key| serde_json::from_value::<Vec<f64>>(case[key].clone()).unwrap());
        let found = holm(&p_values).unwrap();
        assert_eq!(found.len(), expected.len());
        let are_near = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(are_near, "{found:?}, not {expected:?}");
    }
}
