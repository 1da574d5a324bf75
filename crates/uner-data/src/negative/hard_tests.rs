use super::*;
use crate::{Entity, TypeCounts, add_negatives, read, registry, shared::shared};

fn example(types: &[&str]) -> Example {
    let entities = types
        .iter()
        .map(|name| Entity { text: "x".to_owned(), entity_type: (*name).to_owned(), span: None })
        .collect();
    Example::new("0".to_owned(), "x".to_owned(), entities)
}

const TYPES: [(&str, usize); 7] = [
    ("person", 60),
    ("date", 30),
    ("musical artist", 9),
    ("Visual_Artist", 5),
    ("musical instrument", 4),
    ("ArtistName", 2),
    ("song", 1),
];

fn inventory() -> TypeInventory {
    let mut counts = TypeCounts::default();
    for (name, count) in TYPES {
        counts.add(&example(&vec![name; count]));
    }
    TypeInventory::new(&counts)
}

fn config(strategy: Strategy, ratio: f64) -> NegativeConfig {
    NegativeConfig { strategy, ratio, drop_asked: false }
}

fn drawn(types: &[&str], hard: &HardTypes, share: f64, ratio: f64, index: u64) -> Vec<String> {
    let mut example = example(types);
    let num_present = example.queries.len();
    let draw = Draw { seed: 7, epoch: 0, index };
    let config = config(Strategy::Frequency, ratio);
    add_hard_negatives(&mut example, &inventory(), &config, (hard, share), draw);
    example.queries.split_off(num_present)
}

#[test]
fn words_of_types_are_compared_by_their_singular() {
    assert_eq!(words("MusicalArtists"), ["musical", "artist"]);
    assert_eq!(words("musical_artist"), ["musical", "artist"]);
    assert_eq!(words("name of the DNA class"), ["dna", "class"]);
    let hard = HardTypes::with_shared_words(&inventory());
    let name = |(index, weight): &(usize, f64)| (inventory().name(*index).to_owned(), *weight);
    let found: Vec<(String, f64)> = hard.neighbours["musicalartist"].iter().map(name).collect();
    let expected = [("Visual_Artist", 4.0), ("musical instrument", 1.0), ("ArtistName", 4.0)];
    assert_eq!(found, expected.map(|(name, weight)| (name.to_owned(), weight)));
    assert!(!hard.neighbours.contains_key("song"));
}

/// The draws of the other strategies, which existing recipes depend on, did not change.
#[test]
fn without_a_share_the_draws_are_those_of_the_other_strategies() {
    let hard = HardTypes::with_shared_words(&inventory());
    for strategy in [Strategy::None, Strategy::Uniform, Strategy::Frequency, Strategy::ClosedWorld]
    {
        for index in 0..300 {
            let draw = Draw { seed: 3, epoch: 1, index };
            for types in [&["musical artist"][..], &[], &["person", "date"]] {
                let (mut plain, mut mixed) = (example(types), example(types));
                add_negatives(&mut plain, &inventory(), &config(strategy, 1.5), draw);
                let config = config(strategy, 1.5);
                add_hard_negatives(&mut mixed, &inventory(), &config, (&hard, 0.0), draw);
                assert_eq!(plain, mixed);
            }
        }
    }
}

#[test]
fn the_share_of_hard_types_is_drawn_by_weight() {
    let hard = HardTypes::with_shared_words(&inventory());
    let number = 8_000;
    let mut counts: HashMap<String, f64> = HashMap::new();
    for index in 0..number {
        for name in drawn(&["musical artist"], &hard, 0.5, 1.0, index) {
            *counts.entry(name).or_default() += 1.0 / number as f64;
        }
    }
    // Half are hard: 4, 4 and 1 of 9. The other half is drawn by frequency out of 102 mentions.
    for (name, expected) in [
        ("Visual_Artist", 0.5 * 4.0 / 9.0 + 0.5 * 5.0 / 102.0),
        ("ArtistName", 0.5 * 4.0 / 9.0 + 0.5 * 2.0 / 102.0),
        ("musical instrument", 0.5 / 9.0 + 0.5 * 4.0 / 102.0),
        ("person", 0.5 * 60.0 / 102.0),
    ] {
        assert!((counts[name] - expected).abs() < 0.02, "{name}: {} {expected}", counts[name]);
    }
    assert!(!counts.contains_key("musical artist"));
}

#[test]
fn draws_are_keyed_distinct_and_complete() {
    let hard = HardTypes::with_shared_words(&inventory());
    for index in 0..200 {
        let found = drawn(&["musical artist", "person"], &hard, 1.0, 2.0, index);
        let distinct: HashSet<&String> = found.iter().collect();
        // Three hard types, and one other.
        assert_eq!((found.len(), distinct.len()), (4, 4), "{found:?}");
        assert!(["date", "song"].contains(&&*found[3]), "{found:?}");
        assert_eq!(found, drawn(&["musical artist", "person"], &hard, 1.0, 2.0, index));
    }
    // A passage without hard types gets as many others.
    assert_eq!(drawn(&["song"], &hard, 1.0, 2.0, 0).len(), 2);
    assert_eq!(drawn(&[], &hard, 1.0, 2.0, 0).len(), 2);
}

#[test]
fn confusions_are_read_from_the_report_of_an_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let pair = |gold: &str, predicted: &str, count: u64| serde_json::json!({"gold": gold, "predicted": predicted, "count": count});
    let text = serde_json::json!({"datasets": [
        {"errors": {"confusion": [pair("song", "Musical Artist", 3), pair("song", "album", 5)]}},
        {"errors": {"confusion": [pair("song", "Musical Artist", 2), pair("song", "date", 5)]}},
    ]});
    fs_err::write(&report, text.to_string()).unwrap();
    let confusions = Confusions::read(&report).unwrap();
    assert_eq!(confusions.0["song"][0], ("Musical Artist".to_owned(), 5.0));
    let hard = HardTypes::with_confusions(&inventory(), &confusions);
    // `album` is not in the inventory.
    let found: Vec<&str> =
        hard.neighbours["song"].iter().map(|(index, _)| TYPES[*index].0).collect();
    assert_eq!(found, ["date", "musical artist"]);
    for index in 0..50 {
        let mut found = drawn(&["song"], &hard, 1.0, 2.0, index);
        found.sort();
        assert_eq!(found, ["date", "musical artist"]);
    }
    let both = HardTypes::with_shared_words(&inventory()).and(hard);
    assert_eq!(both.neighbours["song"].len(), 2);
    assert_eq!(both.neighbours["musicalartist"].len(), 3);
    fs_err::write(&report, "{}").unwrap();
    let message = Confusions::read(&report).unwrap_err().to_string();
    assert!(message.contains("it lists no confusion of types"), "{message}");
}

/// In CrossNER's music, artists, albums and genres have hard types in the other domains' types.
#[test]
fn hard_types_of_published_data_share_words() {
    let Some(root) = shared("data") else { return };
    let mut counts = TypeCounts::default();
    for name in ["slimer-pilener", "crossner-music", "crossner-science", "crossner-ai"] {
        let examples = read(&registry::find(name).unwrap(), "train", &root).unwrap();
        examples.for_each(|example| counts.add(&example.unwrap()));
    }
    let inventory = TypeInventory::new(&counts);
    let hard = HardTypes::with_shared_words(&inventory);
    let names = |of_type: &str| -> Vec<&str> {
        hard.neighbours[&fold(of_type)].iter().map(|(index, _)| inventory.name(*index)).collect()
    };
    assert!(
        names("musical artist").contains(&"musical instrument"),
        "{:?}",
        names("musical artist")
    );
    assert!(names("chemical compound").len() > 2, "{:?}", names("chemical compound"));
    let with_hard = hard.neighbours.len() as f64 / inventory.len() as f64;
    eprintln!("{} types, {with_hard:.2} of them with hard types", inventory.len());
    assert!(with_hard > 0.3, "{with_hard}");
}
