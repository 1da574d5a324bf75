//! Every format gives the same answers.

use uner_data::predictions::{PredictedEntity, Prediction, PredictionFormat, PredictionWriter};

use super::*;

const ALL_CORRECT: (usize, usize, usize) = (4, 4, 4);

/// The score of a file that has everything.
fn complete(format: Format, text: &str) -> (usize, usize, usize) {
    let fixture = Fixture::new();
    let (report, coverage) = fixture.score(&described(fixture.write(text), format));
    assert_eq!(coverage.problems(), Vec::<String>::new());
    strict(&report)
}

#[test]
fn spans_are_matched_by_text_or_id() {
    let by_text = r#"[{"text": "nobody", "entities": []},
{"text": "🚀 Åsa met Zoë", "entities": [{"label": "Person", "start": 10, "end": 13, "text": "Zoë"}, {"label": "PER", "start": 1, "end": 5}]},
{"text": "nobody", "entities": []},
{"text": "Zoë saw Rome 🚀", "entities": [{"type": "big_city", "start": 8, "end": 12}, {"type": "person", "start": 0, "end": 3}, {"type": "person", "start": 0, "end": 3}]}]"#;
    assert_eq!(complete(Format::Spans, by_text), ALL_CORRECT);
    let by_id = r#"{"id": "d", "entities": []}
{"id": "c", "entities": [{"type": "person", "start": 2, "end": 5, "text": "Åsa"}, {"type": "person", "start": 10, "end": 13}]}
{"id": "b", "entities": []}
{"id": "a", "entities": [{"type": "city", "start": 8, "end": 12}, {"type": "person", "start": 0, "end": 3}]}"#;
    assert_eq!(complete(Format::Spans, by_id), ALL_CORRECT);
}

#[test]
fn the_outputs_of_uner_predict_are_read() {
    let formats = [
        (PredictionFormat::JsonLines, Format::Spans),
        (PredictionFormat::Conll, Format::Conll),
        (PredictionFormat::SpacyJson, Format::Spacy),
    ];
    for (written, read) in formats {
        let fixture = Fixture::new();
        let path = fixture.root().join("predictions");
        let mut writer = PredictionWriter::create(&path, written).unwrap();
        // Documents are numbered from 1, as those of `uner predict` are.
        for (number, example) in
            uner_data::read(&fixture.dataset, "test", fixture.root()).unwrap().enumerate()
        {
            let example = example.unwrap();
            let entity = |entity: &uner_data::Entity| {
                let start = example.text.find(&entity.text).unwrap();
                let bytes = start..start + entity.text.len();
                PredictedEntity::at(&example.text, bytes, &entity.entity_type, Some(0.75)).unwrap()
            };
            let mut entities: Vec<_> = example.entities.iter().map(entity).collect();
            if number == 0 {
                let overlapping = PredictedEntity::at(&example.text, 5..13, "person", None);
                entities.extend(overlapping);
            }
            let prediction =
                Prediction::new((number + 1).to_string(), example.text.clone(), entities);
            writer.write(&prediction).unwrap();
        }
        writer.finish().unwrap();
        let (report, coverage) = fixture.score(&described(path, read));
        assert_eq!(coverage.problems(), Vec::<String>::new(), "{written:?}");
        // The longest of the overlapping entities is the one that CoNLL can have.
        let expected = if read == Format::Conll { (3, 4, 4) } else { (4, 5, 4) };
        assert_eq!(strict(&report), expected, "{written:?}");
        assert_eq!(report.entity_reliability.is_some(), read == Format::Spans);
    }
}

#[test]
fn conll_files_may_have_further_columns_and_other_schemes() {
    let iobes = "Zoë NNP S-PER\nsaw VBD O\nRome NNP S-CITY\n🚀 SYM O\n\nnobody NN O\n\n\
        🚀 SYM O\nÅsa NNP S-PER\nmet VBD O\nZoë NNP S-PER\n\nnobody NN O\n";
    assert_eq!(complete(Format::Conll, iobes), ALL_CORRECT);
    let iob1 = iobes.replace("S-", "I-").replace(' ', "\t");
    assert_eq!(complete(Format::Conll, &iob1), ALL_CORRECT);
    // Tokens that no text was joined of: `Z`, `oë`.
    let pieces = iobes.replace("Zoë NNP S-PER", "Z NNP B-PER\noë NNP E-PER");
    assert_eq!(complete(Format::Conll, &pieces), ALL_CORRECT);
}

#[test]
fn a_sentence_with_another_token_is_matched_by_order() {
    let fixture = Fixture::new();
    let rows = "Zoe B-PER\nsaw O\nRome B-city\n? O\n\nnobody O\n\n\
        🚀 O\nÅsa B-PER\nmet O\nZoë B-PER\n\nnobody O\n";
    let (report, coverage) = fixture.score(&described(fixture.write(rows), Format::Conll));
    assert_eq!(strict(&report), ALL_CORRECT);
    assert_eq!((coverage.by_tokens, coverage.missing, coverage.unmatched), (1, 0, 0));
    assert_eq!(coverage.first_by_tokens.as_deref(), Some("sentence 1"));
}

/// Written by `json.dumps(doc.to_json())` of spaCy with an entity ruler.
#[test]
fn documents_of_spacy_are_read() {
    let rows = include_str!("spacy.jsonl");
    assert_eq!(complete(Format::Spacy, rows), ALL_CORRECT);
    let array = format!("[{}]", rows.trim().replace('\n', ","));
    assert_eq!(complete(Format::Spacy, &array), ALL_CORRECT);
    let pairs = r#"[["Zoë saw Rome 🚀", {"entities": [[0, 3, "PER"], [8, 12, "city"]]}], ["nobody", {"entities": []}],
["nobody", {"entities": []}], ["🚀 Åsa met Zoë", {"entities": [[2, 5, "PER"], [10, 13, "PER"]]}]]"#;
    assert_eq!(complete(Format::Spacy, pairs), ALL_CORRECT);
}

#[test]
fn spans_of_the_span_categorizer_are_read_and_others_counted() {
    let fixture = Fixture::new();
    let row = r#"{"text": "Zoë saw Rome 🚀", "ents": [], "spans": {"sc": [{"start": 0, "end": 3, "label": "PER", "kb_id": ""}], "ruler": [{"start": 8, "end": 12, "label": "city", "kb_id": ""}]}}"#;
    let (report, coverage) = fixture.score(&described(fixture.write(row), Format::Spacy));
    assert_eq!(strict(&report), (1, 1, 4));
    assert_eq!((coverage.unread_spans, coverage.missing), (1, 3));
}

const GLINER: [&str; 4] = [
    r#"[{"start": 0, "end": 3, "text": "Zoë", "label": "person", "score": 0.98}, {"start": 8, "end": 12, "text": "Rome", "label": "big city", "score": 0.51}]"#,
    "[]",
    r#"[{"start": 2, "end": 5, "text": "Åsa", "label": "person", "score": 0.9}, {"start": 10, "end": 13, "text": "Zoë", "label": "person", "score": 0.4}]"#,
    r#"[{"start": 0, "end": 6, "text": "nobody", "label": "person", "score": 0.3}]"#,
];

#[test]
fn lists_of_gliner_are_in_the_order_of_the_examples() {
    let with_wrong = (4, 5, 4);
    assert_eq!(complete(Format::Gliner, &GLINER.join("\n")), with_wrong);
    assert_eq!(complete(Format::Gliner, &format!("[{}]", GLINER.join(", "))), with_wrong);
    // The first text has no entities, and the dataset's first is not asked.
    let fixture = Fixture::new();
    let lists = ["[]", "[]", GLINER[2], "[]"].join("\n");
    let (report, _) = fixture.score(&described(fixture.write(&lists), Format::Gliner));
    assert_eq!(strict(&report), (2, 2, 4));
    let texts = ["Zoë saw Rome 🚀", "nobody", "🚀 Åsa met Zoë", "nobody"];
    let row = |at: usize| format!("{{\"text\": \"{}\", \"entities\": {}}}", texts[at], GLINER[at]);
    let rows = [2, 1, 3, 0].map(row);
    assert_eq!(complete(Format::Gliner, &rows.join("\n")), with_wrong);
    assert_eq!(complete(Format::Gliner, &format!("[{}]", rows.join(","))), with_wrong);
}

#[test]
fn a_threshold_leaves_out_improbable_entities() {
    let fixture = Fixture::new();
    let path = fixture.write(&GLINER.join("\n"));
    let predictions = Predictions { threshold: Some(0.5), ..described(path, Format::Gliner) };
    let (report, coverage) = fixture.score(&predictions);
    assert_eq!((strict(&report), coverage.below_threshold), ((3, 3, 4), 2));
    // The probabilities of those that are left.
    assert!(report.entity_reliability.is_some());
}

/// A sample asks some examples only, and leaves out those without a query.
#[test]
fn a_sample_gets_the_answers_of_the_whole() {
    let fixture = Fixture::new();
    let lists = [GLINER[0], GLINER[1], GLINER[2], "[]"].join("\n");
    for seed in 0..20 {
        let (mut system, _) =
            fixture.add(&described(fixture.write(&lists), Format::Gliner)).unwrap();
        let sample = Some(Sample { pairs: 3, seed });
        let (correct, actual, possible) =
            strict(&score(&mut system, &fixture.dataset, fixture.root(), sample));
        assert!(correct == actual && actual == possible, "seed {seed}");
    }
}

#[test]
fn answers_of_instructuie_are_located_in_the_text() {
    let row = |sentence: &str, answer: &str| {
        let instance = serde_json::json!({"id": "0", "sentence": sentence, "label": " None"});
        let row = serde_json::json!({"Task": "NER", "Instance": instance, "Prediction": answer});
        row.to_string()
    };
    let rows = [
        row("🚀 Åsa met Zoë", " person: Åsa; person:  Zoë"),
        row("nobody", " None"),
        row("Zoë saw Rome 🚀", "Person: Zoë; big city: Rome; person: Zoë"),
        row("nobody", " "),
    ];
    assert_eq!(complete(Format::Instructuie, &rows.join("\n")), ALL_CORRECT);
    let fixture = Fixture::new();
    let wrong = row("🚀 Åsa met Zoë", "person: Zo; person: Bob; nonsense");
    let (report, _) = fixture.score(&described(fixture.write(&wrong), Format::Instructuie));
    // `Zo` is a part of `Zoë`, and `Bob` is nowhere.
    assert_eq!(strict(&report), (0, 2, 4));
}
