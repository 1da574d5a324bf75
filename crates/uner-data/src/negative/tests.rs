use super::*;
use crate::{Entity, inventory::TypeCounts};

fn example(types: &[&str]) -> Example {
    let entities = types
        .iter()
        .map(|name| Entity { text: "x".to_owned(), entity_type: (*name).to_owned(), span: None })
        .collect();
    Example::new("0".to_owned(), "x".to_owned(), entities)
}

/// `person` 60, `date` 30, `city` 9, `song` 1.
fn inventory() -> TypeInventory {
    let mut counts = TypeCounts::default();
    for (name, count) in [("person", 60), ("date", 30), ("city", 9), ("song", 1)] {
        counts.add(&example(&vec![name; count]));
    }
    TypeInventory::new(&counts)
}

fn drawn(types: &[&str], strategy: Strategy, ratio: f64, index: u64) -> Vec<String> {
    let mut example = example(types);
    let num_present = example.queries.len();
    let draw = Draw { seed: 7, epoch: 0, index };
    add_negatives(
        &mut example,
        &inventory(),
        &NegativeConfig { strategy, ratio, drop_asked: false },
        draw,
    );
    example.queries.split_off(num_present)
}

fn frequencies(strategy: Strategy) -> Vec<f64> {
    let draws: Vec<String> =
        (0..20_000).flat_map(|index| drawn(&["Person"], strategy, 1.0, index)).collect();
    ["person", "date", "city", "song"]
        .iter()
        .map(|name| draws.iter().filter(|drawn| drawn == name).count() as f64 / draws.len() as f64)
        .collect()
}

#[test]
fn frequency_and_uniform_draw_in_proportion_and_never_a_present_type() {
    let close = |found: Vec<f64>, expected: [f64; 4]| {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 0.015, "{found} is not near {expected}");
        }
    };
    close(frequencies(Strategy::Frequency), [0.0, 0.75, 0.225, 0.025]);
    close(frequencies(Strategy::Uniform), [0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
}

#[test]
fn successive_draws_have_the_same_distribution_on_both_paths() {
    // First and second draw among person 60, date 30, city 9, song 1: P(date first) = 0.3 and
    // P(date second) = 0.6 * 30/40 + 0.09 * 30/91 + 0.01 * 30/99 = 0.4827.
    let mut rng = stream(*b"testtest", 1, 0, 0);
    let inventory = inventory();
    let (mut first, mut second) = ([0.0; 2], [0.0; 2]);
    let date = inventory.iter().position(|(name, _)| name == "date").unwrap();
    let num_draws = 20_000;
    for _ in 0..num_draws {
        let fast = sample(&inventory, Weighting::Frequency, HashSet::new(), 2, &mut rng);
        let slow = sample_remaining(&inventory, Weighting::Frequency, &HashSet::new(), 2, &mut rng);
        for (path, drawn) in [fast, slow].iter().enumerate() {
            first[path] += f64::from(u8::from(drawn[0] == date)) / f64::from(num_draws);
            second[path] += f64::from(u8::from(drawn[1] == date)) / f64::from(num_draws);
        }
    }
    for path in 0..2 {
        assert!((first[path] - 0.3).abs() < 0.015, "{first:?}");
        assert!((second[path] - 0.4827).abs() < 0.015, "{second:?}");
    }
}

#[test]
fn draws_are_keyed_and_without_repetition() {
    for index in 0..200 {
        let found = drawn(&["date"], Strategy::Frequency, 3.0, index);
        let distinct: HashSet<&String> = found.iter().collect();
        assert_eq!((found.len(), distinct.len()), (3, 3), "{found:?}");
        assert_eq!(found, drawn(&["date"], Strategy::Frequency, 3.0, index));
    }
    assert!(
        (1..50).any(|index| drawn(&[], Strategy::Uniform, 1.0, 0)
            != drawn(&[], Strategy::Uniform, 1.0, index))
    );
}

#[test]
fn the_ratio_is_per_present_type_and_an_empty_passage_asks_something() {
    let mean = |types: &[&str], ratio| {
        (0..4_000).map(|index| drawn(types, Strategy::Uniform, ratio, index).len()).sum::<usize>()
            as f64
            / 4_000.0
    };
    assert!((mean(&["person", "date"], 0.75) - 1.5).abs() < 0.03);
    assert!((mean(&[], 0.25) - 1.0).abs() < f64::EPSILON);
    assert!((mean(&["person"], 0.0)).abs() < f64::EPSILON);
    assert_eq!(drawn(&[], Strategy::None, 1.0, 0), [""; 0]);
    assert_eq!(drawn(&["CITY"], Strategy::ClosedWorld, 0.0, 0), ["person", "date", "song"]);
    assert_eq!(drawn(&[], Strategy::Frequency, 100.0, 0).len(), 4);
}

/// The draws before hard types existed: recipes and published data depend on them. The function is
/// a copy of the one of that time.
#[test]
fn draws_did_not_change() {
    fn before(
        example: &mut Example,
        inventory: &TypeInventory,
        config: &NegativeConfig,
        draw: Draw,
    ) {
        let mut rng = stream(*b"negative", draw.seed, draw.epoch, draw.index);
        let present: HashSet<&str> =
            example.entities.iter().map(|entity| entity.entity_type.as_str()).collect();
        if config.drop_asked {
            example.queries.retain(|query| present.contains(query.as_str()));
        }
        let mut excluded: HashSet<String> =
            example.queries.iter().map(|query| fold(query)).collect();
        excluded.extend(present.iter().map(|entity_type| fold(entity_type)));
        let num_given =
            example.queries.iter().filter(|query| !present.contains(query.as_str())).count();
        let count = num_negatives(present.len(), config.ratio, &mut rng).saturating_sub(num_given);
        let weighting = match config.strategy {
            Strategy::Uniform => Weighting::Uniform,
            _ => Weighting::Frequency,
        };
        let indices = sample(inventory, weighting, excluded, count, &mut rng);
        example.queries.extend(indices.into_iter().map(|index| inventory.name(index).to_owned()));
    }
    for index in 0..500 {
        for types in [&["Person"][..], &[], &["date", "song"], &["unknown"]] {
            for strategy in [Strategy::Uniform, Strategy::Frequency] {
                for drop_asked in [true, false] {
                    let config = NegativeConfig { strategy, ratio: 1.4, drop_asked };
                    let draw = Draw { seed: 5, epoch: 2, index };
                    let mut old = example(types);
                    old.queries.push("city".to_owned());
                    let mut new = old.clone();
                    before(&mut old, &inventory(), &config, draw);
                    add_negatives(&mut new, &inventory(), &config, draw);
                    assert_eq!(old, new);
                }
            }
        }
    }
}

#[test]
fn absent_types_the_data_asks_count() {
    let mut queried = example(&["person"]);
    queried.queries.push("Date".to_owned());
    let config = NegativeConfig { strategy: Strategy::Frequency, ratio: 2.0, drop_asked: false };
    add_negatives(&mut queried, &inventory(), &config, Draw { seed: 0, epoch: 0, index: 0 });
    assert_eq!(queried.queries.len(), 3);
    assert!(["city", "song"].contains(&queried.queries[2].as_str()), "{:?}", queried.queries);
}

#[test]
fn absent_types_the_data_asks_can_be_left_out() {
    let drawn = |strategy| {
        let mut queried = example(&["person"]);
        queried.queries.push("Date".to_owned());
        let config = NegativeConfig { strategy, ratio: 1.0, drop_asked: true };
        add_negatives(&mut queried, &inventory(), &config, Draw { seed: 0, epoch: 0, index: 0 });
        queried.queries
    };
    assert_eq!(drawn(Strategy::None), ["person"]);
    assert_eq!(drawn(Strategy::Frequency).len(), 2);
    // It may be drawn again, by its name in the inventory.
    assert_eq!(drawn(Strategy::ClosedWorld), ["person", "date", "city", "song"]);
}
