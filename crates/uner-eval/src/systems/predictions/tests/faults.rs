//! Faults have file, line and value; what is left out is counted.

use super::*;

/// The error of a file, without the folder.
fn complaint(predictions: impl FnOnce(PathBuf) -> Predictions, text: &str) -> String {
    let fixture = Fixture::new();
    let predictions = predictions(fixture.write(text));
    let message = match fixture.add(&predictions) {
        Err(error) => error.to_string(),
        Ok((mut system, _)) => {
            let examples = uner_data::read(&fixture.dataset, "test", fixture.root()).unwrap();
            let examples: Vec<_> = examples.map(Result::unwrap).collect();
            let questions = Questions { dataset: "made-up", examples: &examples };
            let answers = system.answer(questions, &mut |_| ControlFlow::Continue(()));
            answers.unwrap_err().to_string()
        }
    };
    message.replace(&*fixture.root().to_string_lossy(), "")
}

fn assert_says(format: Format, text: &str, expected: &str) {
    let found = complaint(|path| described(path, format), text);
    assert!(found.contains(expected), "{found:?} does not say {expected:?}");
}

#[test]
fn offsets_that_do_not_fit_are_named() {
    let row =
        |entity: &str| format!("\n{{\"text\": \"Zoë saw Rome 🚀\", \"entities\": [{entity}]}}");
    let cases = [
        (
            r#"{"type": "person", "start": 0, "end": 15}"#,
            "`/predictions`:2: the entity at `0..15` is not inside its text of `14` characters",
        ),
        (
            r#"{"type": "person", "start": 3, "end": 2}"#,
            "`/predictions`:2: the entity at `3..2` is not inside",
        ),
        (
            r#"{"type": "person", "start": 3, "end": 4}"#,
            ":2: the entity at `3..4` has no characters but white space",
        ),
        (
            r#"{"type": "person", "start": 0, "end": 4, "text": "Zoës"}"#,
            "`/predictions`:2: the text has `Zoë ` at `0..4`, but the entity is `Zoës`",
        ),
        (r#"{"type": "person", "start": -1, "end": 2}"#, "has no whole number `start`"),
        (r#"{"type": "person", "start": 1.5, "end": 2}"#, "has no whole number `start`"),
        (r#"{"start": 0, "end": 2}"#, "has no string `type` or `label`"),
    ];
    for (entity, expected) in cases {
        assert_says(Format::Spans, &row(entity), expected);
    }
    // Bytes in place of characters: `Rome` is at 9..13.
    assert_says(
        Format::Spacy,
        r#"[["Zoë saw Rome 🚀", {"entities": [[9, 20, "city"]]}]]"#,
        ":1: record 1: the entity at `9..20`",
    );
}

#[test]
fn offsets_without_a_text_are_checked_in_the_example() {
    let entity = r#"[{"start": 1, "end": 3, "text": "Zoë", "label": "person", "score": 1}]"#;
    let lists = format!("[]\n[]\n{entity}\n[]\n");
    assert_says(
        Format::Gliner,
        &lists,
        "`/predictions`:3: the text has ` Å` at `1..3`, but the entity is `Zoë`",
    );
    let lists = format!("[]\n{}\n[]\n[]\n", entity.replace('3', "9"));
    assert_says(
        Format::Gliner,
        &lists,
        "`/predictions`:2: the entity at `1..9` is not inside its text of `6` characters",
    );
}

#[test]
fn rows_of_another_format_are_named() {
    assert_says(
        Format::Spans,
        "{\"entities\": []}",
        ":1: the row has neither a string `text` nor an `id`",
    );
    assert_says(Format::Spans, "{\"text\": \"nobody\"}", ":1: the row has no list `entities`");
    assert_says(Format::Spans, "7", ":1: `7` is not an object");
    assert_says(
        Format::Spacy,
        "{\"text\": \"nobody\", \"entities\": []}",
        ":1: the row has no list `ents`",
    );
    assert_says(
        Format::Instructuie,
        "{\"text\": \"nobody\"}",
        ":1: the record has no string `Prediction`",
    );
    assert_says(
        Format::Conll,
        "nobody\tO\nperson\tX\n",
        "/predictions:2: tag `X` does not belong to the scheme",
    );
    assert_says(
        Format::Gliner,
        "[]\n{\"text\": \"nobody\", \"entities\": []}",
        ":1: the prediction has neither a text nor an id, but others have",
    );
    assert_says(Format::Spans, "\n", "`/predictions` has no predictions");
}

#[test]
fn a_file_of_other_texts_is_refused() {
    let expected = "none of the `1` predictions in `/predictions` is for an example of split `test` of dataset `made-up`: line 1 is for `Zoë saw Paris`, the first example is `Zoë saw Rome 🚀`";
    assert_says(Format::Spans, "{\"text\": \"Zoë saw Paris\", \"entities\": []}", expected);
    let expected = "line 1 is for `x`, the first example is `a`";
    assert_says(Format::Spans, "{\"id\": \"x\", \"entities\": []}", expected);
    let expected = "`/predictions` has `1` predictions without texts or ids, but split `test` of dataset `made-up` has `4` examples";
    assert_says(Format::Gliner, "[]", expected);
    let expected = "`/predictions`:2: the text of `a` is not that of the example with this id";
    let rows = "{\"id\": \"b\", \"text\": \"nobody\", \"entities\": []}\n{\"id\": \"a\", \"text\": \"Zoe saw Rome\", \"entities\": []}";
    assert_says(Format::Spans, rows, expected);
}

#[test]
fn a_threshold_needs_scores() {
    let with_threshold =
        |format| move |path| Predictions { threshold: Some(0.5), ..described(path, format) };
    let row = r#"{"text": "nobody", "entities": [{"start": 0, "end": 6, "label": "person"}]}"#;
    let found = complaint(with_threshold(Format::Spans), row);
    assert!(found.contains("`/predictions`:1: the entity `{\"start\":0,\"end\":6,\"label\":\"person\"}` has no `score`"), "{found}");
    let found = complaint(with_threshold(Format::Conll), "nobody O\n");
    assert_eq!(found, "`threshold` is set, but files of format `conll` have no scores: remove it");
}

#[test]
fn what_is_left_out_is_counted() {
    let fixture = Fixture::new();
    let rows = r#"{"text": "nobody", "entities": [{"start": 0, "end": 6, "label": "NORP"}]}
{"text": "of another split", "entities": [{"start": 0, "end": 2, "label": "DATE"}]}
{"text": "Zoë  saw Rome🚀", "entities": [{"start": 0, "end": 3, "label": "NORP"}, {"start": 9, "end": 13, "label": "GPE"}]}
{"text": "nobody", "entities": [], "problem": "out of memory"}
"#;
    let labels = IndexMap::from([("GPE".to_owned(), "big city".to_owned())]);
    let predictions = Predictions { labels, ..described(fixture.write(rows), Format::Spans) };
    let (report, coverage) = fixture.score(&predictions);
    assert_eq!(strict(&report), (1, 1, 4));
    assert_eq!(
        coverage.problems(),
        [
            "1 of 4 examples have no prediction (the first: `c`) and count as answered by `[]`",
            "1 of 4 predictions are for no example (the first: line 2)",
            "entities with these labels do not count, because the dataset has no such types: `NORP` (2); map labels with other names to types by `labels`",
        ]
    );
    let (mut system, _) = fixture.add(&predictions).unwrap();
    let examples = uner_data::read(&fixture.dataset, "test", fixture.root()).unwrap();
    let mut examples: Vec<_> = examples.map(Result::unwrap).collect();
    for example in &mut examples {
        example.queries = vec!["big city".to_owned()];
    }
    let questions = Questions { dataset: "made-up", examples: &examples };
    let answers = system.answer(questions, &mut |_| ControlFlow::Continue(())).unwrap();
    let problems: Vec<_> = answers.iter().map(|answers| answers[0].problem.as_deref()).collect();
    let [None, None, Some(missing), Some("out of memory")] = problems[..] else {
        panic!("{problems:?}")
    };
    assert!(missing.ends_with("has no prediction for this text"), "{missing}");
    // The offsets are those of the dataset's text, whose white space differs.
    assert_eq!(answers[0][0].entities[0].entity.text, "Rome");
    assert_eq!(answers[0][0].entities[0].entity.span.unwrap().start, 8);
}

#[test]
fn a_dataset_has_one_file() {
    let fixture = Fixture::new();
    let predictions = described(fixture.write("{\"id\": \"a\", \"entities\": []}"), Format::Spans);
    let (mut system, _) = fixture.add(&predictions).unwrap();
    let again = system.add(&predictions, (&fixture.dataset, "test"), fixture.root());
    assert!(again.unwrap_err().to_string().contains("`made-up` has two files of predictions"));
    let questions = Questions { dataset: "other", examples: &[] };
    let error = system.answer(questions, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("`other` has no file of predictions"), "{error}");
}
