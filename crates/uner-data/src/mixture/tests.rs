use super::*;

fn member(toml: &str) -> Member {
    toml::from_str(&format!("dataset = \"demo\"\nsplit = \"test\"\n{toml}")).unwrap()
}

fn ids(members: &[Member], seed: u64) -> Vec<(usize, String)> {
    mix(members, Path::new("."), seed)
        .unwrap()
        .map(|item| item.map(|(member, example)| (member, example.id)).unwrap())
        .collect()
}

#[test]
fn caps_take_the_first_or_a_seeded_choice_in_order() {
    let first = ids(&[member("cap = 3"), member("cap = 2")], 0);
    let expected =
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)].map(|(m, i)| (m, format!("demo/test_{i}")));
    assert_eq!(first, expected);

    let chosen = ids(&[member("cap = 50\ntake = \"random\"")], 1);
    let number = |id: &str| id.rsplit('_').next().unwrap().parse::<usize>().unwrap();
    let numbers: Vec<usize> = chosen.iter().map(|(_, id)| number(id)).collect();
    assert_eq!(numbers.len(), 50);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(numbers[49] > 200, "{numbers:?}");
    assert_eq!(chosen, ids(&[member("cap = 50\ntake = \"random\"")], 1));
    assert_ne!(chosen, ids(&[member("cap = 50\ntake = \"random\"")], 2));
}

#[test]
fn a_weight_repeats_or_thins() {
    let twice = ids(&[member("cap = 2\nweight = 2")], 0);
    let expected = ["test_0", "test_0#2", "test_1", "test_1#2"].map(|id| (0, format!("demo/{id}")));
    assert_eq!(twice, expected);
    let half = ids(&[member("weight = 0.5")], 0).len();
    assert!((150..250).contains(&half), "{half} of 400");
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |toml: &str| mix(&[member(toml)], Path::new("."), 0).err().unwrap().to_string();
    assert_eq!(
        refused("weight = 0"),
        "dataset `demo`: its weight in the mixture is `0`; it must be more than 0 and at most 10000"
    );
    assert_eq!(
        refused("cap = 0"),
        "dataset `demo`: its cap in the mixture is 0; leave the dataset out instead"
    );
    let unknown = toml::from_str::<Member>("dataset = \"demo\"\nsplit = \"test\"\ncaps = 3")
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("unknown field `caps`"), "{unknown}");
}
