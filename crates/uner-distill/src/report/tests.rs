use super::*;
use uner_data::Entity;

fn example(types: &[&str]) -> Example {
    let entity =
        |name: &&str| Entity { text: "x".to_owned(), entity_type: (*name).to_owned(), span: None };
    Example::new(String::new(), "x".to_owned(), types.iter().map(entity).collect())
}

#[test]
fn any_examples_have_a_table_of_types() {
    let examples = [example(&["per|son", "per|son", "Per|son"]), example(&["c`ity"])];
    let table = types_table(examples.map(Ok)).unwrap();
    assert!(table.starts_with("4 mentions of 3 types (2 after folding"), "{table}");
    let head = "| top 1 % | 1 | 2 | 50.0 % | 74 % (130 types) | per\\|son |\n";
    assert!(table.contains(head), "{table}");
    assert!(
        table.contains("| rest | 2 | 2 | 50.0 % | 7 % (11718 types) | Per\\|son, c'ity |"),
        "{table}"
    );
}

#[test]
fn published_shares_are_of_all_mentions() {
    let share: f64 = PUBLISHED.iter().map(|band| band.share).sum();
    assert!((share - 1.0).abs() < 1e-9);
    assert_eq!(PUBLISHED.iter().map(|band| band.num_types).sum::<usize>(), 13_020);
}
