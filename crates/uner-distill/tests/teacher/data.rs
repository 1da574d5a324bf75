//! The built files, and the way back through the readers.

use std::path::Path;

use uner_data::format::{Container, Conversations, Format};
use uner_data::{Dataset, DatasetRef, Example, Span, read};
use uner_distill::filter::{FilterConfig, TypeSpelling};
use uner_distill::output::{CONVERSATIONS, DATASET, OutputConfig, REPORT_MARKDOWN, SPANS};
use uner_distill::{DistillReport, Passage, build};

use crate::scripted::Scripted;
use crate::{annotate, passage, write_passages};

struct Built {
    folder: tempfile::TempDir,
    report: DistillReport,
}

/// Builds data of texts and answers.
fn built(texts: &[(&str, &'static str)], config: &OutputConfig) -> Built {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    let passage = |(number, (text, _)): (usize, &(&str, &str))| Passage {
        id: format!("p{number}"),
        text: (*text).to_owned(),
        subset: "s".to_owned(),
        document: "d".to_owned(),
        span: Span { start: 3, end: 3 + text.chars().count() },
    };
    write_passages(&passages, texts.iter().enumerate().map(passage));
    let mut teacher = Scripted::new(2);
    let answers: Vec<(String, &str)> =
        texts.iter().map(|(text, answer)| (format!("Passage: {text}"), *answer)).collect();
    teacher.reply = Box::new(move |prompt| {
        answers
            .iter()
            .find(|(end, _)| prompt.ends_with(end))
            .map(|(_, answer)| (*answer).to_owned())
    });
    annotate(folder.path(), &passages, &mut teacher).unwrap();
    let report = build(folder.path(), &passages, config).unwrap();
    Built { folder, report }
}

fn text(folder: &Path, name: &str) -> String {
    fs_err::read_to_string(folder.join(name)).unwrap()
}

fn conversations(folder: &Path) -> Vec<Example> {
    let format = Conversations {
        container: Container::Array,
        merge: false,
        encoding: uner_data::format::Encoding::default(),
    };
    let path = folder.join(CONVERSATIONS);
    let dataset = Dataset::of_file(&path, Format::Conversations(format));
    let mut examples = read(&dataset, "file", folder).unwrap();
    let found = examples.by_ref().map(Result::unwrap).collect();
    assert!(examples.notes().is_empty(), "{:?}", examples.notes());
    found
}

fn spans(folder: &Path) -> Vec<Example> {
    let name = folder.join(DATASET).display().to_string();
    let dataset = DatasetRef::Name(name).resolve().unwrap();
    let mut examples = read(&dataset, "train", Path::new("")).unwrap();
    let found = examples.by_ref().map(Result::unwrap).collect();
    assert!(examples.notes().is_empty(), "{:?}", examples.notes());
    found
}

#[test]
fn the_strings_are_those_of_the_released_data() {
    let texts = [
        (
            "Zoë 🚀 \"x\"\nsaw Rome.",
            r#"[("Rome", "City"), ("\"x\"", "word"), ("Zoë 🚀", "person"), ("saw", "City")]"#,
        ),
        ("Nothing here.", "[]"),
        ("Bad.", "no list"),
    ];
    let built = built(&texts, &OutputConfig::default());
    let expected = r#"[
{"id": "p0", "conversations": [{"from": "human", "value": "Text: Zo\u00eb \ud83d\ude80 \"x\"\nsaw Rome."}, {"from": "gpt", "value": "I've read this text."}, {"from": "human", "value": "What describes City in the text?"}, {"from": "gpt", "value": "[\"saw\", \"Rome\"]"}, {"from": "human", "value": "What describes word in the text?"}, {"from": "gpt", "value": "[\"\\\"x\\\"\"]"}, {"from": "human", "value": "What describes person in the text?"}, {"from": "gpt", "value": "[\"Zo\\u00eb \\ud83d\\ude80\"]"}]},
{"id": "p1", "conversations": [{"from": "human", "value": "Text: Nothing here."}, {"from": "gpt", "value": "I've read this text."}]}
]
"#;
    assert_eq!(text(built.folder.path(), CONVERSATIONS), expected);
    let line = text(built.folder.path(), SPANS).lines().next().unwrap().to_owned();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        value["entities"][1],
        serde_json::json!({"start": 14, "end": 18, "label": "City", "text": "Rome"})
    );
    for (key, expected) in
        [("model", "scripted"), ("prompt", "type"), ("answer", texts[0].1), ("document", "d")]
    {
        assert_eq!(value[key], expected);
    }
    let counts = &built.report.counts;
    assert_eq!((counts.annotated, counts.without_entities, counts.unparseable), (2, 1, 1));
}

#[test]
fn both_files_are_read_back_equal() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..70).map(passage));
    annotate(folder.path(), &passages, &mut Scripted::new(3)).unwrap();
    let report = build(folder.path(), &passages, &OutputConfig::default()).unwrap();
    let (examples, spans) = (conversations(folder.path()), spans(folder.path()));
    assert_eq!((examples.len(), spans.len()), (60, 60));
    assert_eq!(examples, spans);
    let entities: usize = examples.iter().map(|example| example.entities.len()).sum();
    assert_eq!(entities as u64, report.counts.entities);
    assert_eq!(entities, report.statistics.num_entities);
    let first = &spans[3].entities;
    let mentions: Vec<&str> = first.iter().map(|entity| &*entity.text).collect();
    // `“Ada” in` has a line end in the passage.
    assert_eq!(mentions, ["Rome", "Rome", "Zoë", "“Ada”\n in", "Ada"]);
}

#[test]
fn every_drop_is_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..70).map(passage));
    annotate(folder.path(), &passages, &mut Scripted::new(3)).unwrap();
    let report = build(folder.path(), &passages, &OutputConfig::default()).unwrap();
    let counts = &report.counts;
    let found = [
        counts.passages,
        counts.unparseable,
        counts.annotated,
        counts.without_entities,
        counts.emptied,
        counts.cut_off,
        counts.unanswered,
    ];
    assert_eq!(found, [70, 10, 60, 10, 10, 0, 0]);
    // Of 7 passages: 2 entities in one, and 5 in each of three.
    assert_eq!((counts.entities, counts.dropped), (10 * (2 + 3 * 5), 10 * (2 + 3 * 2)));
    let sum = |count: fn(&uner_distill::report::Counts) -> u64| {
        report.subsets.values().map(count).sum::<u64>()
    };
    assert_eq!((sum(|c| c.passages), sum(|c| c.entities), sum(|c| c.dropped)), (70, 170, 80));
    let teacher = &report.teachers["scripted (type)"];
    assert_eq!((teacher.answers, teacher.tokens.input, teacher.tokens.output), (70, 700, 350));
    let markdown = text(folder.path(), REPORT_MARKDOWN);
    for part in [
        "| books | 24 |",
        "| not in the passage | 10 | 4.0 % | Paris (city);",
        "| repeated more often than in the passage | 30 |",
        "| in the passage in another case only | 30 | 12.0 % | ada (person);",
        "| top 1 % | 1 |",
        "| 74 % (130 types) |",
        "| scripted (type) | 70 | 700 | 350 | 0 | 0.00 |",
        "I am sorry, but I cannot do that.",
    ] {
        assert!(markdown.contains(part), "`{part}` is not in\n{markdown}");
    }
}

#[test]
fn types_can_be_merged() {
    let texts = [
        ("Ada and Bob", r#"[("Ada", "Famous_Person"), ("Bob", "famous person")]"#),
        (
            "Eve and Bob",
            r#"[("Eve", "FamousPerson"), ("Bob", "famous person"), ("Eve", "FAMOUS PERSON")]"#,
        ),
    ];
    let filter = FilterConfig { types: TypeSpelling::Lower, ..FilterConfig::default() };
    let merged = built(&texts, &OutputConfig { filter, prices: None });
    let examples = conversations(merged.folder.path());
    assert!(examples.iter().all(|example| example.queries == ["famous person"]), "{examples:?}");
    // `Eve` occurs once, and both of its types are now one.
    assert_eq!((merged.report.counts.entities, merged.report.counts.dropped), (4, 1));
    let as_written = built(&texts, &OutputConfig::default());
    assert_eq!(as_written.report.statistics.num_types, 4);
    assert_eq!(as_written.report.counts.entities, 5);
}

#[test]
fn a_cut_off_answer_is_kept_and_counted() {
    let built = built(&[("Ada in Rome", "[('Ada', 'person'), ('Ro")], &OutputConfig::default());
    assert_eq!((built.report.counts.cut_off, built.report.counts.entities), (1, 1));
}
