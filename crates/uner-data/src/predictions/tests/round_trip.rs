use super::*;
use std::path::Path;

/// The part of a dataset's description that reads a format.
fn description(format: PredictionFormat) -> &'static str {
    match format {
        PredictionFormat::JsonLines => "kind = \"jsonl\"\nlabel = \"type\"",
        PredictionFormat::Conll => {
            "kind = \"columns\"\nseparator = \"\\t\"\ntoken = 0\ntags = [1]\nscheme = \"bio\"\ncomment_rows = [\"# \"]"
        }
        PredictionFormat::SpacyJson => "kind = \"spacy\"",
        PredictionFormat::LabelStudio => "kind = \"label-studio\"",
        PredictionFormat::Brat => "kind = \"brat\"",
    }
}

/// Writes predictions, and returns the number of entities left out.
fn write(path: &Path, format: PredictionFormat, predictions: &[Prediction]) -> usize {
    let mut writer = PredictionWriter::create(path, format).unwrap();
    let left_out = predictions.iter().map(|prediction| writer.write(prediction).unwrap()).sum();
    writer.finish().unwrap();
    left_out
}

/// Reads an output back. Label Studio's predictions count as annotations when someone accepts them.
fn read_back(path: &Path, format: PredictionFormat) -> (Vec<Example>, Notes) {
    if format == PredictionFormat::LabelStudio {
        let accepted =
            fs_err::read_to_string(path).unwrap().replace("\"predictions\":[", "\"annotations\":[");
        fs_err::write(path, accepted).unwrap();
    }
    let text = format!(
        "name = \"own\"\ntypes = \"as-written\"\n[format]\n{}\n[splits]\ntest = {:?}",
        description(format),
        path.file_name().unwrap()
    );
    let dataset = Dataset::from_toml(&text, "own").unwrap();
    let mut examples = read(&dataset, "test", path.parent().unwrap()).unwrap();
    let read = examples.by_ref().map(|example| example.unwrap()).collect();
    (read, examples.notes().clone())
}

fn written_and_read(
    format: PredictionFormat,
    predictions: &[Prediction],
) -> (usize, Vec<Example>, Notes) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let left_out = write(&path, format, predictions);
    let (examples, notes) = read_back(&path, format);
    (left_out, examples, notes)
}

/// Mention, type and span.
type Seen = (String, String, Option<Span>);

fn of_example(example: &Example) -> Vec<Seen> {
    let mut seen: Vec<Seen> = example
        .entities
        .iter()
        .map(|entity| (entity.text.clone(), entity.entity_type.clone(), entity.span))
        .collect();
    seen.sort();
    seen
}

fn of_prediction(prediction: &Prediction, selected: impl Fn(usize) -> bool) -> Vec<Seen> {
    let chosen = prediction.entities.iter().enumerate().filter(|(at, _)| selected(*at));
    let mut seen: Vec<Seen> = chosen
        .map(|(_, entity)| (entity.text.clone(), entity.entity_type.clone(), Some(entity.span)))
        .collect();
    seen.sort();
    seen
}

#[test]
fn json_lines_have_everything() {
    let (left_out, examples, notes) = written_and_read(PredictionFormat::JsonLines, &samples());
    assert_eq!((left_out, notes.is_empty()), (0, true));
    for (example, sample) in examples.iter().zip(samples()) {
        assert_eq!((&example.id, &example.text), (&sample.id, &sample.text));
        assert_eq!(of_example(example), of_prediction(&sample, |_| true));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    write(&path, PredictionFormat::JsonLines, &samples()[2..]);
    assert_eq!(
        fs_err::read_to_string(&path).unwrap(),
        concat!(
            r##"{"id":" \"x\"\n# id = 9","text":"Nothing \"here\"\\.\r\n\r\n","entities":[],"problem":"the text is\ntoo long"}"##,
            "\n",
            r##"{"id":"..","text":"# id = Rome","entities":["##,
            r##"{"type":"city","text":"Rome","start":7,"end":11,"start_byte":7,"end_byte":11,"probability":0.5},"##,
            r##"{"type":"club","text":"Rome","start":7,"end":11,"start_byte":7,"end_byte":11,"probability":null}]}"##,
            "\n"
        )
    );
}

#[test]
fn label_studio_has_everything() {
    let (left_out, examples, notes) = written_and_read(PredictionFormat::LabelStudio, &samples());
    assert_eq!((left_out, notes.is_empty()), (0, true));
    for (example, sample) in examples.iter().zip(samples()) {
        assert_eq!(example.text, sample.text);
        assert_eq!(of_example(example), of_prediction(&sample, |_| true));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    write(&path, PredictionFormat::LabelStudio, &samples()[..1]);
    let text = fs_err::read_to_string(&path).unwrap();
    let tasks: serde_json::Value = serde_json::from_str(&text).unwrap();
    let predicted = &tasks[0]["predictions"][0];
    assert_eq!(
        (predicted["model_version"].as_str(), predicted["score"].as_f64()),
        (Some("uner"), Some(0.125))
    );
    assert_eq!(
        predicted["result"][0].to_string(),
        r#"{"id":"e1","from_name":"label","to_name":"text","type":"labels","value":{"start":0,"end":3,"text":"Zoë","labels":["person"]},"score":0.5}"#
    );
}

#[test]
fn spacy_has_overlaps_in_a_group() {
    let (left_out, examples, notes) = written_and_read(PredictionFormat::SpacyJson, &samples());
    assert_eq!(left_out, 0);
    assert_eq!(
        notes.count(&crate::Note::OtherRegion),
        4,
        "the reader counts the overlapping spans"
    );
    for (example, sample) in examples.iter().zip(samples()) {
        let selected = disjoint::disjoint(&sample.entities);
        assert_eq!(example.text, sample.text);
        assert_eq!(of_example(example), of_prediction(&sample, |at| selected[at]));
    }
    let mentions: Vec<&str> =
        examples[0].entities.iter().map(|entity| entity.text.as_str()).collect();
    assert_eq!(mentions, ["Zoë", "New York City", "New\n York"]);
    assert_eq!(examples[3].entities[0].entity_type, "city", "the more probable of two types");
}

#[test]
fn conll_has_tokens_and_counts_what_overlaps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let left_out = write(&path, PredictionFormat::Conll, &samples());
    assert_eq!(left_out, 4);
    let first = "# id = a/../b.txt\nZoë\tB-person\n🚀\tO\nsaw\tO\nNew\tB-city\nYork\tI-city\nCity\tI-city\n,\tO\nnot\tO\n\
                 New\tB-city\nYork\tI-city\n.\tO\n\n";
    let others = "# id = a/../b.txt\n\n# id = \" \\\"x\\\"\\n# id = 9\"\n# problem = \"the text is\\ntoo long\"\nNothing\tO\n\
                  \"\tO\nhere\tO\n\"\tO\n\\\tO\n.\tO\n\n# id = ..\n#\tO\nid\tO\n=\tO\nRome\tB-city\n\n";
    assert_eq!(fs_err::read_to_string(&path).unwrap(), first.to_owned() + others);
    let (examples, notes) = read_back(&path, PredictionFormat::Conll);
    assert!(notes.is_empty(), "{notes}");
    let texts: Vec<&str> = examples.iter().map(|example| example.text.as_str()).collect();
    assert_eq!(
        texts,
        ["Zoë 🚀 saw New York City , not New York .", "Nothing \" here \" \\ .", "# id = Rome"]
    );
    let sample = prediction(
        "1",
        "B2B-Ann",
        &[("2", 0, "a b", None), ("B", 1, "a b", None), ("Ann", 0, "c", None)],
    );
    let (rows, left_out) = conll::record(&sample);
    assert_eq!(
        (rows.as_str(), left_out),
        ("# id = 1\nB\tO\n2\tB-a_b\nB\tB-a_b\n-\tO\nAnn\tB-c\n\n", 0)
    );
}

#[test]
fn brat_has_fragments_and_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    assert_eq!(write(&path, PredictionFormat::Brat, &samples()), 0);
    let rows = fs_err::read_to_string(path.join("0000001-a_.._b.ann")).unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows[..2], ["T1\tperson 0 3\tZoë", "#1\tAnnotatorNotes T1\tprobability 0.5"]);
    assert!(rows.contains(&"T4\tsports_team 14 23\tYork City"), "{rows:?}");
    assert!(rows.contains(&"T6\tcity 29 32;33 38\tNew  York"), "{rows:?}");
    let index = fs_err::read_to_string(path.join(brat::INDEX)).unwrap();
    assert_eq!(index.lines().next(), Some(r#"{"id":"a/../b.txt","file":"0000001-a_.._b"}"#));
    let (examples, notes) = read_back(&path, PredictionFormat::Brat);
    assert_eq!(notes.count(&crate::Note::Discontinuous), 1);
    for (example, mut sample) in examples.iter().zip(samples()) {
        sample
            .entities
            .iter_mut()
            .for_each(|entity| entity.entity_type = label(&entity.entity_type));
        assert_eq!(example.text, sample.text);
        assert_eq!(of_example(example), of_prediction(&sample, |_| true));
    }
    assert_eq!(examples.len(), 4);
    let long = prediction(&"ß".repeat(300), "x", &[]);
    assert_eq!(write(&folder.path().join("long"), PredictionFormat::Brat, &[long]), 0);
}

/// A text, and entities whose ends are visible characters, without repetition.
fn predictions() -> impl Strategy<Value = Prediction> {
    let text = prop_oneof![
        "[a-cé🚀.,# \n\r\t\u{2028}\u{85}\u{301}\u{200b}]{0,40}",
        "[^\\\\\u{feff}]{0,30}"
    ];
    let spans =
        prop::collection::vec((0_usize..40, 1_usize..12, "[xy] ?[xy]", any::<Option<f32>>()), 0..6);
    ("\\PC*", text, spans).prop_map(|(id, text, spans)| {
        let borders: Vec<usize> =
            text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let visible =
            |character: char| !crate::text::is_blank(character) && !character.is_control();
        let mut entities: Vec<PredictedEntity> = spans
            .into_iter()
            .filter_map(|(start, length, entity_type, probability)| {
                let end = *borders.get(start + length)?;
                PredictedEntity::at(
                    &text,
                    borders[start]..end,
                    &entity_type,
                    probability.map(f64::from),
                )
            })
            .filter(|entity| entity.text.starts_with(visible) && entity.text.ends_with(visible))
            .collect();
        sort(&mut entities);
        entities.dedup_by(|a, b| a.order() == b.order());
        Prediction::new(id, text, entities)
    })
}

proptest! {
    #[test]
    fn any_prediction_is_read_back(
        predictions in prop::collection::vec(predictions(), 1..4),
        format in prop::sample::select(vec![
            PredictionFormat::JsonLines, PredictionFormat::SpacyJson, PredictionFormat::LabelStudio, PredictionFormat::Brat,
        ]),
    ) {
        let (left_out, examples, _) = written_and_read(format, &predictions);
        prop_assert_eq!(left_out, 0);
        prop_assert_eq!(examples.len(), predictions.len());
        for (example, mut prediction) in examples.iter().zip(predictions) {
            let selected = disjoint::disjoint(&prediction.entities);
            let is_read = |at| format != PredictionFormat::SpacyJson || selected[at];
            if format == PredictionFormat::Brat {
                prediction.entities.iter_mut().for_each(|entity| entity.entity_type = label(&entity.entity_type));
            }
            prop_assert_eq!(&example.text, &prediction.text);
            prop_assert_eq!(of_example(example), of_prediction(&prediction, is_read));
        }
    }

    #[test]
    fn tokens_have_every_visible_character_and_entity(prediction in predictions()) {
        // A file without a token is an error of its reader.
        let written = [prediction.clone(), self::prediction("last", ".", &[])];
        let (left_out, examples, notes) = written_and_read(PredictionFormat::Conll, &written);
        let plain = |text: &str| squeeze(text).replace(char::is_control, "");
        let read: String = examples.iter().map(|example| plain(&example.text)).collect();
        prop_assert_eq!(read, plain(&prediction.text) + ".");
        prop_assert!(notes.is_empty(), "{}", notes);
        let selected = disjoint::disjoint(&prediction.entities);
        prop_assert_eq!(left_out, selected.iter().filter(|selected| !**selected).count());
        let entities = prediction.entities.iter().zip(selected).filter(|(_, selected)| *selected);
        let expected: Vec<(String, String)> =
            entities.map(|(entity, _)| (plain(&entity.text), label(&entity.entity_type))).collect();
        let found: Vec<(String, String)> = examples
            .iter()
            .flat_map(|example| &example.entities)
            .map(|entity| (plain(&entity.text), entity.entity_type.clone()))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_selected_entities_are_disjoint_and_maximal(prediction in predictions()) {
        let selected = disjoint::disjoint(&prediction.entities);
        let overlap = |a: &PredictedEntity, b: &PredictedEntity| {
            a.span.start < b.span.end && b.span.start < a.span.end
        };
        let taken: Vec<&PredictedEntity> =
            prediction.entities.iter().zip(&selected).filter(|(_, taken)| **taken).map(|(e, _)| e).collect();
        for pair in taken.windows(2) {
            prop_assert!(!overlap(pair[0], pair[1]));
        }
        for (entity, is_taken) in prediction.entities.iter().zip(selected) {
            let is_beaten = taken.iter().any(|other| {
                overlap(other, entity) && other.text.chars().count() >= entity.text.chars().count()
            });
            prop_assert!(is_taken || is_beaten);
        }
    }
}
