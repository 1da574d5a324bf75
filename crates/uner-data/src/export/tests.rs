//! Tests of the written rows. Round trips are in `convert`.

use super::*;
use crate::{Entity, Example, Span};

#[test]
fn formats_have_names() {
    for format in ExportFormat::all() {
        assert_eq!(format.name().parse(), Ok(format));
    }
    let problem = "label_studio".parse::<ExportFormat>().unwrap_err();
    assert!(problem.contains("`label-studio`?"), "{problem}");
}

/// An example with an overlap, an absent type, and characters of every length.
fn sample() -> Example {
    let entity = |text: &str, start: usize, entity_type: &str| {
        let end = start + text.chars().count();
        let (text, entity_type) = (text.to_owned(), entity_type.to_owned());
        Entity { text, entity_type, span: Some(Span { start, end }) }
    };
    let entities = vec![
        entity("Zoë", 2, "person"),
        entity("New York City", 12, "city"),
        entity("York", 16, "city"),
    ];
    let mut example =
        Example::new("7".to_owned(), "🚀 Zoë's in \tNew York City.".to_owned(), entities);
    example.queries.push("sports team".to_owned());
    example
}

fn written(format: ExportFormat) -> (String, Losses) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let exported = export([sample()], &path, format, Tokens::Words).unwrap();
    let file = if path.is_dir() { path.join("0000001-7.ann") } else { path };
    (fs_err::read_to_string(file).unwrap(), exported.losses)
}

/// The record of the sample between the brackets of an array, with its text shortened to `T`.
fn record(format: ExportFormat) -> String {
    let (file, _) = written(format);
    let record = file.strip_prefix("[\n").unwrap_or(&file);
    let record = record.strip_suffix("\n]\n").unwrap_or(record);
    record.replace(&serde_json::to_string(&sample().text).unwrap(), "T").trim_end().to_owned()
}

#[test]
fn records_of_spans() {
    let expected = [
        (
            ExportFormat::JsonLines,
            r#"{"id":"7","text":T,"entities":[{"type":"person","text":"Zoë","start":2,"end":5},{"type":"city","text":"New York City","start":12,"end":25},{"type":"city","text":"York","start":16,"end":20}],"queries":["person","city","sports team"]}"#,
        ),
        (
            ExportFormat::Spacy,
            r#"{"id":"7","text":T,"ents":[{"start":2,"end":5,"label":"person"},{"start":12,"end":25,"label":"city"}],"spans":{"sc":[{"start":16,"end":20,"label":"city"}]}}"#,
        ),
        (
            ExportFormat::Prodigy,
            r#"{"id":"7","text":T,"spans":[{"start":2,"end":5,"text":"Zoë","label":"person"},{"start":12,"end":25,"text":"New York City","label":"city"},{"start":16,"end":20,"text":"York","label":"city"}],"answer":"accept"}"#,
        ),
        (
            ExportFormat::Doccano,
            r#"{"id":"7","text":T,"label":[[2,5,"person"],[12,25,"city"],[16,20,"city"]]}"#,
        ),
        (
            ExportFormat::Instructuie,
            r#"{"id":"7","sentence":T,"entities":[{"name":"Zoë","type":"person","pos":[2,5]},{"name":"New York City","type":"city","pos":[12,25]},{"name":"York","type":"city","pos":[16,20]}]}"#,
        ),
        (
            ExportFormat::Brat,
            "T1\tperson 2 5\tZoë\nT2\tcity 12 25\tNew York City\nT3\tcity 16 20\tYork",
        ),
    ];
    for (format, record) in expected {
        assert_eq!(self::record(format), record, "{format:?}");
    }
    let task = record(ExportFormat::LabelStudio);
    let start = r#"{"data":{"id":"7","text":T},"annotations":[{"result":[{"id":"e1","from_name":"label","to_name":"text","type":"labels","value":{"start":2,"end":5,"text":"Zoë","labels":["person"]}},"#;
    assert!(task.starts_with(start), "{task}");
    let conversation = record(ExportFormat::Conversations);
    let end = r#"{"from": "human", "value": "What describes city in the text?"}, {"from": "gpt", "value": "[\"New York City\", \"York\"]"}, {"from": "human", "value": "What describes sports team in the text?"}, {"from": "gpt", "value": "[]"}]}"#;
    assert!(conversation.ends_with(end), "{conversation}");
}

#[test]
fn records_of_tokens() {
    let expected = [
        (
            ExportFormat::Conll,
            "# id = 7\n🚀\tO\nZoë\tB-person\n's\tO\nin\tO\nNew\tB-city\nYork\tI-city\nCity\tI-city\n.\tO",
        ),
        (
            ExportFormat::Gliner,
            r#"{"id":"7","tokenized_text":["🚀","Zoë","'s","in","New","York","City","."],"ner":[[1,1,"person"],[4,6,"city"],[5,5,"city"]],"ner_negatives":["sports team"]}"#,
        ),
        (
            ExportFormat::TokenClassification,
            r#"{"id":"7","tokens":["🚀","Zoë","'s","in","New","York","City","."],"ner_tags":["O","B-person","O","O","B-city","I-city","I-city","O"]}"#,
        ),
        (
            ExportFormat::SpacyTraining,
            r#"{"id":"7","paragraphs":[{"raw":T,"sentences":[{"tokens":[{"id":0,"orth":"🚀","space":" ","ner":"O"},{"id":1,"orth":"Zoë","space":"","ner":"U-person"},{"id":2,"orth":"'s","space":" ","ner":"O"},{"id":3,"orth":"in","space":" ","ner":"O"},{"id":4,"orth":"\t","space":"","ner":"O"},{"id":5,"orth":"New","space":" ","ner":"B-city"},{"id":6,"orth":"York","space":" ","ner":"I-city"},{"id":7,"orth":"City","space":"","ner":"L-city"},{"id":8,"orth":".","space":"","ner":"O"}],"brackets":[]}]}]}"#,
        ),
    ];
    for (format, record) in expected {
        assert_eq!(self::record(format), record, "{format:?}");
    }
}

#[test]
fn losses_are_counted_with_their_reason() {
    let counts = |format| {
        let (_, losses) = written(format);
        losses.iter().map(|(loss, found)| (loss, found.count)).collect::<Vec<_>>()
    };
    for format in [ExportFormat::JsonLines, ExportFormat::Conversations] {
        assert_eq!(counts(format), [], "{format:?}");
    }
    assert_eq!(counts(ExportFormat::Gliner), [(Loss::CutToken, 1), (Loss::Space, 1)]);
    assert_eq!(counts(ExportFormat::Spacy), [(Loss::AbsentType, 1)]);
    assert_eq!(
        counts(ExportFormat::SpacyTraining),
        [(Loss::Overlap, 1), (Loss::CutToken, 1), (Loss::AbsentType, 1)]
    );
    let (_, losses) = written(ExportFormat::Conll);
    assert_eq!(
        losses.to_string(),
        "1 x entities that overlap a longer one (left out): `York` in example `7`\n\
         1 x tokens cut where an entity starts or ends: example `7`\n\
         1 x texts read back with one space between tokens: example `7`\n\
         1 x absent types asked of a text (left out): `sports team` in example `7`\n"
    );
}

#[test]
fn entities_that_are_wrong_are_listed() {
    let mut example = sample();
    example.entities[0].text.push('!');
    example.entities[1].span = Some(Span { start: 12, end: 99 });
    example.entities[2].span = None;
    example.entities.push(Entity {
        text: "Oslo".to_owned(),
        entity_type: "city".to_owned(),
        span: None,
    });
    let folder = tempfile::tempdir().unwrap();
    let write = |format: ExportFormat| {
        let path = folder.path().join(format.name());
        let exported = export([example.clone()], &path, format, Tokens::Words).unwrap();
        let losses = exported.losses;
        (losses.count(Loss::WrongOffsets), losses.count(Loss::NoSpan), exported.num_entities)
    };
    // `York` occurs in the text, `Oslo` does not.
    assert_eq!(write(ExportFormat::JsonLines), (3, 0, 1));
    assert_eq!(write(ExportFormat::Doccano), (2, 2, 0));
}

#[test]
fn strings_have_the_escapes_of_python() {
    // Of `json.dumps("a\"\\\n\t\x7fé🚀")`.
    let expected = r#""a\"\\\n\t\u007f\u00e9\ud83d\ude80""#;
    assert_eq!(records::python_string("a\"\\\n\t\u{7f}é🚀"), expected);
}
