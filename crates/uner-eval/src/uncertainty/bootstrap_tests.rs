use proptest::prelude::*;
use rand::RngExt;

use super::super::micro_f1;
use super::*;

/// The probability with which a test of random draws may fail on a right distribution, over all
/// possible seeds. The seeds are fixed, so a test that passes always does.
const FALSE_ALARM: f64 = 1e-9;

/// The largest distance of an empirical distribution function of so many draws from the true one
/// (Dvoretzky-Kiefer-Wolfowitz inequality, with Massart's constant), but for a false alarm.
fn largest_distance(draws: usize) -> f64 {
    ((2.0 / FALSE_ALARM).ln() / (2.0 * draws as f64)).sqrt()
}

/// Made-up passages with up to `4` gold entities and some halves.
fn made_up(count: usize, seed: u64) -> Vec<Counts> {
    let mut rng = stream(seed, 0);
    let passage = |_| {
        let gold = rng.random_range(0..=4);
        let correct = rng.random_range(0..=gold);
        let partial = rng.random_range(0..=gold - correct);
        Counts { correct, partial, predicted: correct + partial + rng.random_range(0..3), gold }
    };
    (0..count).map(passage).collect()
}

fn draws(resampler: &Resampler<1>, count: usize) -> Vec<Sums> {
    let draw = |index| resampler.draw(&mut stream(3, index))[0];
    (0..count).into_par_iter().map(draw).collect()
}

/// The largest distance of two empirical distribution functions.
fn distance(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let below = |values: &[f64], value: f64| {
        values.partition_point(|other| *other <= value) as f64 / values.len() as f64
    };
    a.iter().chain(&b).map(|&value| (below(&a, value) - below(&b, value)).abs()).fold(0.0, f64::max)
}

#[test]
fn groups_have_the_distribution_of_single_draws() {
    const DRAWS: usize = 100_000;
    let passages = passages(&made_up(250, 1)).unwrap();
    let [plain, mixed, grouped] = [usize::MAX, 4, 1].map(|min_group| {
        // The draws of two resamplers share no stream.
        let resampler = Resampler::new(passages.clone(), min_group);
        let draw = |index| resampler.draw(&mut stream(min_group as u64, index))[0];
        (0..DRAWS).into_par_iter().map(draw).collect::<Vec<_>>()
    });
    let statistics: [fn(&Sums) -> f64; 3] =
        [|sums| sums.f1(), |sums| sums.twice_hits as f64, |sums| sums.mentions as f64];
    for statistic in statistics {
        let [plain, mixed, grouped] =
            [&plain, &mixed, &grouped].map(|sums| sums.iter().map(statistic).collect::<Vec<_>>());
        let most = 2.0 * largest_distance(DRAWS);
        let found = [distance(plain.clone(), mixed), distance(plain, grouped)];
        assert!(found.iter().all(|distance| *distance <= most), "{found:?}, at most {most}");
    }
}

/// Of the three passages, two are equal: 27 equally likely resamples have four results.
#[test]
fn the_resamples_of_three_passages_have_their_frequencies() {
    const DRAWS: usize = 50_000;
    let [x, y] = [Sums { twice_hits: 2, mentions: 2 }, Sums { twice_hits: 0, mentions: 3 }];
    for min_group in [1, 2, 3] {
        let resampler = Resampler::new(vec![[x], [y], [x]], min_group);
        let draws = draws(&resampler, DRAWS);
        for (count_of_x, expected) in [1.0, 6.0, 12.0, 8.0].into_iter().enumerate() {
            let mut sums = x.times(count_of_x as u64);
            sums += y.times(3 - count_of_x as u64);
            let found = draws.iter().filter(|draw| **draw == sums).count() as f64 / DRAWS as f64;
            let expected: f64 = expected / 27.0;
            let deviation = (expected * (1.0 - expected) / DRAWS as f64).sqrt();
            assert!(
                (found - expected).abs() <= 6.0 * deviation,
                "{min_group} {count_of_x} {found}"
            );
        }
    }
}

/// One entity per passage, and one prediction: F1 is the fraction of right passages, and resampled
/// it is a binomial variable.
#[test]
fn the_f1_of_single_entities_is_binomial() {
    const DRAWS: usize = 100_000;
    let (count, right) = (500_u32, 390_u32);
    let passage =
        |index| Counts { correct: u32::from(index < right), partial: 0, predicted: 1, gold: 1 };
    let counts: Vec<Counts> = (0..count).map(passage).collect();
    let probability = f64::from(right) / f64::from(count);
    let draws = draws(&Resampler::new(passages(&counts).unwrap(), MIN_GROUP), DRAWS);
    let (mut exact, mut log_ways) = (0.0, 0.0);
    for k in 0..=count {
        let (hits, misses) = (f64::from(k), f64::from(count - k));
        exact += (log_ways + hits * probability.ln() + misses * (1.0 - probability).ln()).exp();
        log_ways += (misses / (hits + 1.0)).ln();
        let below = draws.iter().filter(|draw| draw.twice_hits <= 2 * u64::from(k)).count();
        let found = below as f64 / DRAWS as f64;
        assert!((found - exact).abs() <= largest_distance(DRAWS), "{k}: {found}, not {exact}");
    }
    let interval = bootstrap(&counts, &Resampling { resamples: DRAWS, ..Resampling::default() });
    let interval = interval.unwrap();
    assert_eq!(interval.estimate, probability);
    let expected = (probability * (1.0 - probability) / f64::from(count)).sqrt();
    // Relative error of a standard deviation from normal draws: 1 / sqrt(2 · draws).
    let relative = (interval.standard_error / expected - 1.0).abs();
    assert!(relative <= 6.0 / (2.0 * DRAWS as f64).sqrt(), "{relative}");
}

/// For many passages, the standard error of a ratio of sums is that of its linearisation.
#[test]
fn the_standard_error_of_many_passages_is_that_of_the_delta_method() {
    let counts = made_up(20_000, 2);
    let interval = bootstrap(&counts, &Resampling::default()).unwrap();
    let f1 = micro_f1(&counts);
    let sums: Vec<Sums> = counts.iter().map(|counts| Sums::of(*counts)).collect();
    let mentions: u64 = sums.iter().map(|sums| sums.mentions).sum();
    let residual = |sums: &Sums| (sums.twice_hits as f64 - f1 * sums.mentions as f64).powi(2);
    let expected = sums.iter().map(residual).sum::<f64>().sqrt() / mentions as f64;
    assert!((interval.standard_error / expected - 1.0).abs() < 0.04, "{interval:?} {expected}");
    assert!((interval.high - interval.low) / (2.0 * 1.96 * expected) - 1.0 < 0.06);
}

/// The interval has the F1 of the population in 95 % of samples, and of the macro average of two.
#[test]
fn intervals_cover_the_truth() {
    const SAMPLES: usize = 500;
    let truth = micro_f1(&made_up(1_000_000, 10));
    let resampling = Resampling { resamples: 500, ..Resampling::default() };
    let covers = |interval: Interval| interval.low <= truth && truth <= interval.high;
    let (mut micro, mut of_two) = (0, 0);
    for seed in 0..SAMPLES as u64 {
        let [a, b] = [made_up(150, 100 + 2 * seed), made_up(100, 101 + 2 * seed)];
        micro += usize::from(covers(bootstrap(&a, &resampling).unwrap()));
        of_two += usize::from(covers(bootstrap_macro(&[&a, &b], &resampling).unwrap()));
    }
    // Five standard deviations of a binomial of 500 samples are 0.049.
    for covered in [micro, of_two] {
        let covered = covered as f64 / SAMPLES as f64;
        assert!((covered - 0.95).abs() < 0.05, "{covered}");
    }
}

#[test]
fn results_depend_on_neither_threads_nor_order() {
    let counts = made_up(300, 4);
    let reversed: Vec<Counts> = counts.iter().rev().copied().collect();
    let resampling = Resampling { resamples: 1000, seed: 5, ..Resampling::default() };
    let expected = bootstrap(&counts, &resampling).unwrap();
    assert_eq!(bootstrap(&reversed, &resampling).unwrap(), expected);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| bootstrap(&counts, &resampling)).unwrap(), expected);
    }
    let other = bootstrap(&counts, &Resampling { seed: 6, ..resampling }).unwrap();
    assert_ne!(other, expected);
}

/// Systems that share their errors: the paired interval is narrower than that of independent ones.
#[test]
fn shared_passages_narrow_the_interval_of_a_difference() {
    let a = made_up(400, 6);
    let better = |counts: &Counts| Counts {
        correct: counts.correct + counts.partial,
        partial: 0,
        ..*counts
    };
    let b: Vec<Counts> = a.iter().map(better).collect();
    let resampling = Resampling::default();
    let difference = bootstrap_difference(&b, &a, &resampling).unwrap();
    let [alone_a, alone_b] = [&a, &b].map(|counts| bootstrap(counts, &resampling).unwrap());
    assert_eq!(difference.estimate, alone_b.estimate - alone_a.estimate);
    assert!(difference.low > 0.0);
    assert!(difference.standard_error < alone_a.standard_error.hypot(alone_b.standard_error));
}

#[test]
fn impossible_input_is_refused() {
    let default = Resampling::default();
    let good = [Counts { correct: 1, partial: 0, predicted: 1, gold: 1 }];
    let bad = [Counts { correct: 1, partial: 1, predicted: 1, gold: 2 }];
    let problem = |result: Result<Interval, _>| result.unwrap_err();
    assert_eq!(problem(bootstrap_macro(&[], &default)), UncertaintyError::NoDatasets);
    let empty = problem(bootstrap_macro(&[&good, &[]], &default));
    assert_eq!(empty, UncertaintyError::NoPassages { dataset: 1 });
    let counts = UncertaintyError::Counts { passage: 0, counts: bad[0] };
    assert_eq!(problem(bootstrap(&bad, &default)), counts);
    let few = Resampling { resamples: 1, ..default };
    assert_eq!(problem(bootstrap(&good, &few)), UncertaintyError::Resamples(1));
    for level in [0.0, 1.0, f64::NAN] {
        let error = problem(bootstrap(&good, &Resampling { level, ..default }));
        assert!(matches!(error, UncertaintyError::Level(_)));
    }
    let lengths = UncertaintyError::Lengths { a: 1, b: 2 };
    assert_eq!(problem(bootstrap_difference(&good, &[good[0]; 2], &default)), lengths);
    let other = [Counts { gold: 3, ..good[0] }];
    let gold = UncertaintyError::Gold { passage: 0, a: 1, b: 3 };
    assert_eq!(problem(bootstrap_difference(&good, &other, &default)), gold);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn intervals_of_many_passages_contain_the_estimate(count in 100_usize..400, seed: u64) {
        let counts = made_up(count, seed);
        let resampling = Resampling { resamples: 400, seed, ..Resampling::default() };
        let Interval { estimate, low, high, standard_error, .. } =
            bootstrap(&counts, &resampling).unwrap();
        prop_assert_eq!(estimate, micro_f1(&counts));
        prop_assert!(0.0 <= low && low <= estimate && estimate <= high && high <= 1.0);
        prop_assert!(standard_error > 0.0);
    }

    #[test]
    fn a_wider_level_is_a_wider_interval(count in 1_usize..50, seed: u64, level in 0.1..0.9) {
        let counts = made_up(count, seed);
        let resampling = Resampling { resamples: 100, level, seed };
        let narrow = bootstrap(&counts, &resampling).unwrap();
        let wide = bootstrap(&counts, &Resampling { level: level + 0.09, ..resampling }).unwrap();
        prop_assert!(wide.low <= narrow.low && narrow.low <= narrow.high);
        prop_assert!(narrow.high <= wide.high);
    }

    #[test]
    fn equal_systems_do_not_differ(count in 1_usize..50, seed: u64) {
        let counts = made_up(count, seed);
        let resampling = Resampling { resamples: 50, seed, ..Resampling::default() };
        let Interval { estimate, low, high, standard_error, .. } =
            bootstrap_difference(&counts, &counts, &resampling).unwrap();
        prop_assert_eq!([estimate, low, high, standard_error], [0.0; 4]);
    }
}
