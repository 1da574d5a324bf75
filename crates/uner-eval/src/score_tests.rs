//! Properties of all scores, and hand-made examples.

use proptest::prelude::*;
use uner_data::{Entity, Example, FoundEntity, SeenMentions, Span};

use crate::{
    Answer, DatasetReport, DatasetScorer, Scores,
    official::OfficialCounts,
    record::Record,
    semeval::{Mention, ModeCounts, SemevalCounts},
};

const TYPES: [&str; 3] = ["person", "city", "band"];

/// Entities in a text of twelve characters, including nested, repeated and overlapping ones, and
/// some without a span.
fn any_mentions() -> impl Strategy<Value = Vec<Mention<'static>>> {
    let mention =
        (0..9_usize, 1..4_usize, 0..3_usize, 0..8_u8).prop_map(|(start, length, kind, nowhere)| {
            Mention {
                span: (nowhere > 0).then_some(Span { start, end: start + length }),
                entity_type: TYPES[kind],
            }
        });
    prop::collection::vec(mention, 0..6)
}

fn modes(counts: SemevalCounts) -> [ModeCounts; 4] {
    [counts.strict, counts.exact, counts.partial, counts.ent_type]
}

/// Pairs of equal entities, each used once.
fn exact_hits(gold: &[Mention], predicted: &[Mention]) -> usize {
    let mut free: Vec<&Mention> = gold.iter().filter(|mention| mention.span.is_some()).collect();
    for mention in predicted {
        if let Some(index) = free.iter().position(|gold| *gold == mention) {
            free.swap_remove(index);
        }
    }
    gold.iter().filter(|mention| mention.span.is_some()).count() - free.len()
}

proptest! {
    #[test]
    fn every_entity_is_counted_once_in_every_mode(gold in any_mentions(), predicted in any_mentions()) {
        let counts = SemevalCounts::of_passage(&gold, &predicted);
        for mode in modes(counts) {
            let score = mode.score();
            prop_assert_eq!(score.possible, gold.len());
            prop_assert_eq!(score.actual, predicted.len());
            for figure in [score.precision, score.recall, score.f1] {
                prop_assert!((0.0..=1.0).contains(&figure));
            }
        }
        prop_assert_eq!(counts.strict.correct, exact_hits(&gold, &predicted));
        prop_assert!(counts.exact.correct >= counts.strict.correct);
        prop_assert_eq!(counts.exact.correct, counts.partial.correct);
    }

    #[test]
    fn order_does_not_matter(
        (gold, shuffled) in any_mentions().prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle())),
        (predicted, mixed) in any_mentions().prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle())),
    ) {
        let counts = SemevalCounts::of_passage(&gold, &predicted);
        prop_assert_eq!(SemevalCounts::of_passage(&shuffled, &mixed), counts);
    }

    #[test]
    fn gold_against_itself_is_perfect(gold in any_mentions()) {
        let gold: Vec<Mention> = gold.into_iter().filter(|mention| mention.span.is_some()).collect();
        for mode in modes(SemevalCounts::of_passage(&gold, &gold)) {
            prop_assert_eq!(mode, ModeCounts { correct: gold.len(), ..ModeCounts::default() });
        }
    }

    #[test]
    fn official_sets_ignore_order_and_repeats(
        (items, shuffled) in prop::collection::vec("[ab ]{0,3}", 0..6)
            .prop_flat_map(|items| (Just(items.clone()), Just([items.clone(), items].concat()).prop_shuffle())),
        other in "[ab ]{0,3}",
    ) {
        let answer = |items: &[String]| serde_json::to_string(items).expect("strings serialise");
        let gold = answer(&[other]);
        let counts = OfficialCounts::of_query(&gold, &answer(&items));
        prop_assert_eq!(OfficialCounts::of_query(&gold, &answer(&shuffled)), counts);
        let own = OfficialCounts::of_query(&answer(&items), &answer(&shuffled));
        prop_assert!(own.n_correct == own.n_gold && own.n_correct == own.n_pred);
    }
}

fn entity(text: &str, entity_type: &str, start: usize) -> Entity {
    let span = Some(Span { start, end: start + text.chars().count() });
    Entity { text: text.to_owned(), entity_type: entity_type.to_owned(), span }
}

fn example(entities: Vec<Entity>) -> Example {
    let queries = vec!["person".to_owned(), "city".to_owned()];
    Example {
        id: "e1".to_owned(),
        text: "Ada met Ada and Bo in Rome".to_owned(),
        entities,
        relations: Vec::new(),
        queries,
    }
}

fn answer(entity_type: &str, raw: &str, entities: Vec<Entity>) -> Answer {
    let found = entities.into_iter().map(|entity| FoundEntity { entity, probability: None });
    Answer {
        entity_type: entity_type.to_owned(),
        raw: raw.to_owned(),
        entities: found.collect(),
        ..Answer::default()
    }
}

fn scored(seen: Option<SeenMentions>) -> DatasetReport {
    let gold =
        vec![entity("Ada", "person", 0), entity("Ada", "person", 8), entity("Bo", "person", 16)];
    let gold =
        example([gold, vec![entity("Rome", "city", 22), entity("met", "event", 4)]].concat());
    let mut scorer = DatasetScorer::new("made-up", "", seen);
    let people = vec![entity("Ada", "person", 0), entity("Rome", "person", 22)];
    let answers = vec![
        answer("person", "ASSISTANT: [\"ada\", \"Rome\"]", people),
        answer("city", "nothing", vec![]),
    ];
    scorer.add(&Record::new(("made-up", "test"), gold, answers).unwrap());
    scorer.finish()
}

#[test]
fn official_counts_strings_and_strict_counts_mentions() {
    let report = scored(None);
    let Scores { official, semeval, per_type } = report.scores;
    assert_eq!(
        (official.n_correct, official.n_pred, official.n_gold, official.n_queries),
        (1, 2, 3, 2)
    );
    assert_eq!((semeval.strict.correct, semeval.strict.actual, semeval.strict.possible), (1, 2, 4));
    assert_eq!(
        (semeval.strict.incorrect, semeval.strict.missed),
        (1, 2),
        "`Rome` is found under a wrong type"
    );
    assert_eq!((semeval.exact.correct, semeval.exact.missed), (2, 2));
    assert_eq!(per_type["person"].semeval.strict.spurious, 1);
    assert_eq!(per_type["city"].official.n_gold, 1);
    assert_eq!(report.seen_split, None);
}

#[test]
fn seen_and_unseen_are_told_apart_by_the_text_of_each_entity() {
    let training = example(vec![entity("ADA", "band", 0)]);
    let split = scored(Some(SeenMentions::from_iter([&training]))).seen_split.unwrap();
    assert_eq!((split.seen.correct, split.seen.actual, split.seen.possible), (1, 1, 2));
    assert_eq!((split.unseen.correct, split.unseen.actual, split.unseen.possible), (0, 1, 2));
}

#[test]
fn predictions_must_answer_the_queries() {
    let answers = vec![answer("city", "[]", vec![])];
    let error = Record::new(("made-up", "test"), example(vec![]), answers).unwrap_err().to_string();
    assert!(error.contains("`e1`") && error.contains("person"), "{error}");
}
