use super::*;
use crate::answer::parse;

fn found(text: &str, answer: &str) -> (Vec<(String, String, usize, usize)>, Reasons) {
    let mut reasons = Reasons::default();
    let config = FilterConfig::default();
    let parsed = parse(answer).unwrap();
    let entities = entities(text, parsed, &config, &Spellings::default(), &mut reasons);
    let rows = entities.into_iter().map(|entity| {
        let span = entity.span.unwrap();
        assert_eq!(span.slice(text), Some(&*entity.text));
        (entity.text, entity.entity_type, span.start, span.end)
    });
    (rows.collect(), reasons)
}

fn row(text: &str, kind: &str, start: usize) -> (String, String, usize, usize) {
    (text.to_owned(), kind.to_owned(), start, start + text.chars().count())
}

fn counts(reasons: &Reasons) -> Vec<(Reason, u64)> {
    reasons.iter().map(|(reason, dropped)| (reason, dropped.count)).collect()
}

#[test]
fn repetitions_have_successive_occurrences_for_each_type() {
    let text = "The é He and He";
    let answer = r#"[("He", "p"), ("He", "q"), ("He", "p"), ("He", "p"), ("He", "p")]"#;
    let (rows, reasons) = found(text, answer);
    let expected = [row("He", "p", 6), row("He", "q", 6), row("He", "p", 13)];
    assert_eq!(rows, expected);
    assert_eq!(counts(&reasons), [(Reason::Repeated, 2)]);
    // Whole words come first.
    let (rows, _) = found("aHe He", r#"[("He", "p"), ("He", "p")]"#);
    assert_eq!(rows, [row("He", "p", 4), row("He", "p", 1)]);
}

#[test]
fn white_space_may_differ_and_the_mention_is_the_passages() {
    let text = "in  New\n York\u{a0}City, New York";
    let (rows, reasons) = found(text, r#"[("New York City", "city"), ("New York", "city")]"#);
    assert_eq!(rows, [row("New\n York\u{a0}City", "city", 4), row("New York", "city", 20)]);
    assert_eq!(reasons.total(), 0);
    // Two spellings of one span are one entity.
    let (rows, reasons) = found("a  b", "[('a b', 'x'), ('a  b', 'x'), ('a\tb', 'y')]");
    assert_eq!(rows, [row("a  b", "x", 0), row("a  b", "y", 0)]);
    assert_eq!(counts(&reasons), [(Reason::Repeated, 1)]);
}

#[test]
fn every_reason_is_counted_with_an_example() {
    let text = "Ada met 東京 in Rome";
    let answer = r#"[("Ada", "person"), ("", "x"), (" ", "None"), ("Rome", "N/A"), ("Rome", "MISC."),
        ("Rome", ""), ("東京", "city"), ("Rome", "城市"), ("rome", "city"), ("Paris", "city"),
        ("Ada", "person"), ("a", "b", "c")]"#;
    let (rows, reasons) = found(text, answer);
    assert_eq!(rows, [row("Ada", "person", 0)]);
    let expected = [
        (Reason::NotAPair, 1),
        (Reason::EmptyMention, 2),
        (Reason::ElseType, 3),
        (Reason::NotEnglish, 2),
        (Reason::OtherCase, 1),
        (Reason::NotInPassage, 1),
        (Reason::Repeated, 1),
    ];
    assert_eq!(counts(&reasons), expected);
    assert_eq!(reasons.total(), 11);
    let (_, examples) = reasons.iter().nth(5).unwrap();
    assert_eq!(examples.examples, ["Paris (city)"]);
}

#[test]
fn other_scripts_can_be_kept() {
    let mut reasons = Reasons::default();
    let config = FilterConfig { english_only: false, ..FilterConfig::default() };
    let parsed = parse(r#"[("東京", "city")]"#).unwrap();
    let kept = entities("東京", parsed, &config, &Spellings::default(), &mut reasons);
    assert_eq!((kept.len(), reasons.total()), (1, 0));
}

#[test]
fn else_types_are_found_in_any_spelling() {
    for name in
        ["None", "NONE", "n/a", "N.A.", "NA", "Misc", "ELSE", "Not Applicable", "-", "?", "other"]
    {
        assert!(is_else(name), "{name}");
    }
    for name in ["nation", "other animal", "person", "nonentity", "miscarriage"] {
        assert!(!is_else(name), "{name}");
    }
}

#[test]
fn spellings_merge_under_the_most_frequent() {
    let mut spellings = Spellings::default();
    for name in [
        "Medical_condition",
        "medical condition",
        "MEDICAL CONDITION",
        "MedicalCondition",
        "b-a",
        "B a",
    ] {
        spellings.count(name);
    }
    spellings.choose();
    assert_eq!(spellings.spell("medicalCondition"), "medical condition");
    assert_eq!(spellings.spell("BA"), "b a");
    assert_eq!(spellings.spell("New"), "New");
    assert_eq!(Spellings::default().spell("As Written"), "As Written");
}
