use proptest::prelude::*;
use rand::RngExt;

use super::*;

/// A right or wrong prediction of the only entity.
fn single(is_right: bool) -> Counts {
    Counts { correct: u32::from(is_right), partial: 0, predicted: 1, gold: 1 }
}

/// Two systems with made-up answers to the same passages.
fn made_up(count: usize, seed: u64) -> [Vec<Counts>; 2] {
    let mut rng = stream(seed, 0);
    let gold: Vec<u32> = (0..count).map(|_| rng.random_range(0..4)).collect();
    [(); 2].map(|()| {
        let answer = |&gold: &u32| {
            let correct = rng.random_range(0..=gold);
            let partial = rng.random_range(0..=gold - correct);
            Counts { correct, partial, predicted: correct + partial + rng.random_range(0..2), gold }
        };
        gold.iter().map(answer).collect()
    })
}

/// The exact p-value from all assignments, one by one.
fn by_brute_force(a: &[Counts], b: &[Counts]) -> f64 {
    let fraction = |counts: &mut dyn Iterator<Item = &Counts>| {
        counts.fold((0_i64, 0_i64), |(hits, mentions), counts| {
            let Counts { correct, partial, predicted, gold } = *counts;
            (hits + i64::from(2 * correct + partial), mentions + i64::from(predicted + gold))
        })
    };
    let distance = |assignment: usize| {
        let is_swapped = |index: usize| assignment >> index & 1 == 1;
        let choose = |flip: bool| {
            let pairs = a.iter().zip(b).enumerate();
            fraction(&mut pairs.map(|(i, (a, b))| if is_swapped(i) == flip { a } else { b }))
        };
        let ((h1, m1), (h2, m2)) = (choose(false), choose(true));
        ((h1 * m2.max(1) - h2 * m1.max(1)).abs(), m1.max(1) * m2.max(1))
    };
    let (observed, denominator) = distance(0);
    let extreme = (0..1 << a.len()).filter(|&assignment| {
        let (other, other_denominator) = distance(assignment);
        other * denominator >= observed * other_denominator
    });
    extreme.count() as f64 / (1_u64 << a.len()) as f64
}

/// With one entity per passage, the test is `McNemar`'s exact one: a fair coin for each passage
/// that only one system has right.
#[test]
fn single_entities_give_the_exact_test_of_mcnemar() {
    let only = |a: usize, b: usize| {
        let pairs = [vec![(true, false); a], vec![(false, true); b], vec![(true, true); 20]];
        pairs.concat().into_iter().map(|(a, b)| (single(a), single(b))).unzip()
    };
    for (a, b, tail) in [(9, 1, 1.0 + 10.0), (7, 3, 1.0 + 10.0 + 45.0 + 120.0), (10, 0, 1.0)] {
        let (first, second): (Vec<_>, Vec<_>) = only(a, b);
        let result = approximate_randomization(&first, &second, 100, 0).unwrap();
        // All ten passages have the same step, so there are eleven results.
        assert!(result.is_exact && (result.rounds, result.differing) == (11, 10), "{result:?}");
        assert_eq!(result.p_value, 2.0 * tail / 1024.0);
        assert!((result.difference - (a as f64 - b as f64) / 30.0).abs() < 1e-15);
    }
    let (first, second): (Vec<_>, Vec<_>) = only(5, 5);
    assert_eq!(approximate_randomization(&first, &second, 100, 0).unwrap().p_value, 1.0);
}

#[test]
fn the_largest_exact_test_does_not_overflow() {
    let [right, wrong] = [true, false].map(|is_right| vec![single(is_right); 121]);
    let of = |count| approximate_randomization(&right[..count], &wrong[..count], 500, 0).unwrap();
    let exact = of(MAX_ENUMERATED_PASSAGES as usize);
    assert!(exact.is_exact);
    assert_eq!(exact.p_value, 2.0_f64.powi(-119));
    let sampled = of(121);
    assert!(!sampled.is_exact);
    assert_eq!(sampled.p_value, 1.0 / 501.0);
}

#[test]
fn random_assignments_approach_the_exact_p_value() {
    const ROUNDS: usize = 50_000;
    for seed in 8..12 {
        let [a, b] = made_up(100, seed);
        let test = |count: usize, rounds| {
            approximate_randomization(&a[..count], &b[..count], rounds, seed).unwrap()
        };
        // A further passage at most doubles the number of results.
        let count = (1..=100).find(|count| test(*count, 2 * ROUNDS).rounds > ROUNDS).unwrap();
        let (exact, found) = (test(count, 2 * ROUNDS), test(count, ROUNDS));
        assert!(exact.is_exact && !found.is_exact, "{exact:?} {found:?}");
        assert_eq!(found.rounds, ROUNDS);
        let deviation = (exact.p_value * (1.0 - exact.p_value) / ROUNDS as f64).sqrt();
        let difference = (found.p_value - exact.p_value).abs();
        assert!(difference < 5.0 * deviation + 1.0 / ROUNDS as f64, "{found:?} {exact:?}");
    }
}

/// If the systems are equally good, a p-value is below a level with at most that probability.
#[test]
fn p_values_of_equally_good_systems_are_uniform() {
    const TESTS: usize = 1000;
    let p_values: Vec<f64> = (0..TESTS as u64)
        .map(|seed| {
            let [a, b] = made_up(60, 1000 + seed);
            approximate_randomization(&a, &b, 400, seed).unwrap().p_value
        })
        .collect();
    for level in [0.01, 0.05, 0.2, 0.5] {
        let below = p_values.iter().filter(|p| **p <= level).count() as f64 / TESTS as f64;
        let deviation: f64 = (level * (1.0 - level) / TESTS as f64).sqrt();
        assert!((below - level).abs() < 5.0 * deviation, "{level}: {below}");
    }
}

#[test]
fn heads_are_those_of_fair_coins() {
    let mut rng = stream(0, 0);
    assert_eq!(heads(0, &mut rng), 0);
    for size in [1, 63, 64, 65, 1000] {
        let draws: Vec<f64> = (0..10_000).map(|_| heads(size, &mut rng) as f64).collect();
        assert!(draws.iter().all(|heads| *heads <= size as f64));
        let mean = draws.iter().sum::<f64>() / 1e4;
        let variance = draws.iter().map(|heads| (heads - mean).powi(2)).sum::<f64>() / 1e4;
        let size = size as f64;
        assert!((mean - size / 2.0).abs() < 5.0 * (size / 4.0).sqrt() / 100.0, "{size}: {mean}");
        assert!((variance / (size / 4.0) - 1.0).abs() < 0.08, "{size}: {variance}");
    }
}

#[test]
fn results_depend_on_the_seed_and_not_on_threads() {
    let [a, b] = made_up(300, 3);
    let of = |seed| approximate_randomization(&a, &b, 1000, seed).unwrap();
    let expected = of(1);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| of(1)), expected);
    }
    assert!((2..10).any(|seed| of(seed) != expected));
}

#[test]
fn impossible_input_is_refused() {
    let good = [single(true)];
    let problem = |result: Result<Paired, _>| result.unwrap_err();
    let no_rounds = problem(approximate_randomization(&good, &good, 0, 0));
    assert_eq!(no_rounds, UncertaintyError::Rounds);
    let empty = problem(approximate_randomization(&[], &[], 1, 0));
    assert_eq!(empty, UncertaintyError::NoPassages { dataset: 0 });
    let lengths = problem(approximate_randomization(&good, &[], 1, 0));
    assert_eq!(lengths, UncertaintyError::Lengths { a: 1, b: 0 });
}

proptest! {
    #[test]
    fn exact_p_values_are_those_of_all_assignments(count in 1_usize..9, seed: u64) {
        let [a, b] = made_up(count, seed);
        let result = approximate_randomization(&a, &b, 256, 0).unwrap();
        prop_assert!(result.is_exact);
        prop_assert_eq!(result.p_value, by_brute_force(&a, &b));
    }

    #[test]
    fn the_test_is_symmetric(count in 1_usize..60, seed: u64) {
        let [a, b] = made_up(count, seed);
        let forward = approximate_randomization(&a, &b, 200, seed).unwrap();
        let backward = approximate_randomization(&b, &a, 200, seed).unwrap();
        prop_assert!(0.0 < forward.p_value && forward.p_value <= 1.0);
        prop_assert_eq!(backward, Paired { difference: -forward.difference, ..forward });
    }

    #[test]
    fn equal_systems_have_the_p_value_one(count in 1_usize..60, seed: u64) {
        let [a, _] = made_up(count, seed);
        let expected =
            Paired { difference: 0.0, p_value: 1.0, is_exact: true, rounds: 1, differing: 0 };
        prop_assert_eq!(approximate_randomization(&a, &a, 10, seed).unwrap(), expected);
    }
}
