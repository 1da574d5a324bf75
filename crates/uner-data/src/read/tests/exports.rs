//! Tests of the exports of annotation tools.

use super::*;

fn texts(items: &[Result<Example, String>]) -> Vec<(&str, Vec<Found<'_>>)> {
    items.iter().map(|item| (item.as_ref().unwrap().text.as_str(), found(item))).collect()
}

const RUVEL: (&str, &str, Option<(usize, usize)>) = ("Ruvel", "ORG", Some((0, 5)));

#[test]
fn label_studio() {
    let export = r#"[
        {"id": 7, "data": {"text": "Ruvel\nSystems"}, "annotations": [
            {"was_cancelled": true, "result": []},
            {"result": [
                {"type": "labels", "value": {"start": 0, "end": 5, "text": "Ruvel", "labels": ["ORG", "PER"]}},
                {"type": "labels", "value": {"start": 0, "end": 13, "text": "Ruvel\\nSystems", "labels": ["X"]}},
                {"type": "choices", "value": {"choices": ["good"]}},
                {"type": "relation", "from_id": "a", "to_id": "b"}]},
            {"result": []}]},
        {"id": 8, "data": {"body": "Ruvel", "n": 1}, "annotations": [{"result": []}, {"ground_truth": true, "result": [
            {"type": "labels", "value": {"start": 0, "end": 5, "labels": ["ORG"]}}]}]},
        {"id": 9, "data": {"text": "not annotated"}, "annotations": []}
    ]"#;
    let (items, notes) = items(&dataset("kind = \"label-studio\"", ""), export);
    let first = vec![RUVEL, ("Ruvel", "PER", Some((0, 5))), ("Ruvel\nSystems", "X", Some((0, 13)))];
    assert_eq!(texts(&items), [("Ruvel\nSystems", first), ("Ruvel", vec![RUVEL])]);
    assert_eq!(items[0].as_ref().unwrap().id, "7");
    assert_eq!((notes.count(&Note::NotAccepted), notes.count(&Note::FurtherAnnotation)), (1, 2));
}

#[test]
fn label_studio_with_several_strings_needs_the_key_of_the_text() {
    let task =
        r#"[{"id": 1, "data": {"body": "Ruvel", "title": "News"}, "annotations": [{"result": []}]},
        {"id": 2, "data": {"body": "Ruvel", "title": "News"}, "annotations": [{"result": []}]}]"#
            .replace('\n', "");
    let (named, _) = items(&dataset("kind = \"label-studio\"\ntext = \"body\"", ""), &task);
    assert_eq!(texts(&named), [("Ruvel", vec![]), ("Ruvel", vec![])]);
    let (unnamed, _) = items(&dataset("kind = \"label-studio\"", ""), &task);
    assert_eq!(
        unnamed[1].as_ref().unwrap_err(),
        "file:1: record 2: the row has no string `text`; set one of `text = \"body\"`, `text = \"title\"` in the \
         description's `[format]`"
    );
}

#[test]
fn label_studio_min() {
    let row = r#"{"id": 1, "text": "Ruvel Systems", "label": [{"start": 0, "end": 5, "text": "Ruvel", "labels": ["ORG"]}]}"#;
    for format in ["kind = \"label-studio\"", "kind = \"jsonl\"\nentities = \"label\""] {
        for content in [row.to_owned(), format!("[{row}]"), format!("[\n  {row}\n]\n")] {
            let (items, _) = items(&dataset(format, ""), &content);
            assert_eq!(texts(&items), [("Ruvel Systems", vec![RUVEL])], "{format}");
        }
    }
    let annotators = format!(
        "[{}, {}]",
        row.replace("\"id\"", "\"annotator\": 1, \"id\""),
        row.replace("\"id\"", "\"annotator\": 2, \"id\"")
    );
    let (taken, notes) = items(&dataset("kind = \"label-studio\"", ""), &annotators);
    assert_eq!((texts(&taken).len(), notes.count(&Note::FurtherAnnotation)), (1, 1));
    let wrong = row.replace("\"end\": 5", "\"end\": 6");
    let (items, _) =
        items(&dataset("kind = \"label-studio\"", ""), &wrong.replace("Ruvel S", "🚀uvel S"));
    assert_eq!(items[0].as_ref().unwrap_err(), "file:1: span 0..6 is `🚀uvel `, not `Ruvel`");
}

#[test]
fn spacy() {
    let pair = r#"["Ruvel Systems", {"entities": [[0, 5, "ORG"]]}]"#;
    let document =
        r#"{"text": "Ruvel", "ents": [{"start": 0, "end": 5, "label": "ORG"}], "tokens": []}"#;
    let paragraphs = r#"{"id": 0, "paragraphs": [
        {"raw": "Zoë Ruvel, hired.", "sentences": [{"tokens": [{"orth": "Zoë", "ner": "B-PER"},
            {"orth": "Ruvel", "ner": "L-PER"}, {"orth": ",", "ner": "O"}, {"orth": "hired", "ner": "-"}]}]},
        {"raw": "Ruvel", "entities": [[0, 5, "ORG"]], "sentences": []}]}"#;
    let spacy = dataset("kind = \"spacy\"", "");
    let (pairs, _) = items(&spacy, &format!("[{pair},\n{pair}]"));
    assert_eq!(texts(&pairs), [("Ruvel Systems", vec![RUVEL]), ("Ruvel Systems", vec![RUVEL])]);
    let (lines, _) = items(&spacy, &format!("{pair}\n{document}\n"));
    assert_eq!(texts(&lines), [("Ruvel Systems", vec![RUVEL]), ("Ruvel", vec![RUVEL])]);
    let (training, _) = items(&spacy, &format!("[{paragraphs}]"));
    let person = vec![("Zoë Ruvel", "PER", Some((0, 9)))];
    assert_eq!(texts(&training), [("Zoë Ruvel, hired.", person), ("Ruvel", vec![RUVEL])]);
    let (as_spans, _) =
        items(&dataset("kind = \"jsonl\"\nentities = \"label\"", ""), &format!("[{pair}]"));
    assert_eq!(texts(&as_spans), [("Ruvel Systems", vec![RUVEL])]);
    let (bad, _) = items(&spacy, r#"["Ruvel", {"cats": {}}]"#);
    assert!(bad[0].as_ref().unwrap_err().contains("is not `[text, {\"entities\""), "{bad:?}");
}

#[test]
fn prodigy() {
    let rows = r#"{"text": "Ruvel Systems", "spans": [{"start": 0, "end": 5, "label": "ORG", "token_start": 0}], "answer": "accept"}
        {"text": "b", "spans": [], "answer": "reject"}
        {"text": "c", "answer": "ignore"}
        {"text": "d", "answer": "accept", "_session_id": "ner-ann"}
        {"text": "d", "answer": "accept", "_session_id": "ner-bob"}"#;
    let (items, notes) = items(&dataset("kind = \"prodigy\"", ""), rows);
    assert_eq!(texts(&items), [("Ruvel Systems", vec![RUVEL]), ("d", vec![])]);
    assert_eq!((notes.count(&Note::NotAccepted), notes.count(&Note::FurtherAnnotation)), (2, 1));
}

#[test]
fn doccano() {
    let rows = r#"{"id": 1, "text": "Ruvel Systems", "label": [[0, 5, "ORG"]]}
        {"id": 2, "text": "Ruvel", "entities": [{"id": 4, "label": "ORG", "start_offset": 0, "end_offset": 5}], "relations": []}
        {"id": 3, "data": "Ruvel", "labels": []}"#;
    let (items, _) = items(&dataset("kind = \"doccano\"", ""), rows);
    assert_eq!(
        texts(&items),
        [("Ruvel Systems", vec![RUVEL]), ("Ruvel", vec![RUVEL]), ("Ruvel", vec![])]
    );
    assert_eq!(items[1].as_ref().unwrap().id, "2");
}

/// Regions that are not spans of plain text, or that nobody labelled or accepted.
#[test]
fn regions_that_are_no_entities_are_read_or_counted() {
    let task = r#"[{"id": 1, "data": {"text": "Ruvel met Okart."}, "annotations": [{"result": [
        {"value": {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": 0, "endOffset": 5,
                   "globalOffsets": {"start": 0, "end": 5}, "hypertextlabels": ["PER"]}},
        {"value": {"start": 10, "end": 15, "text": "Okart"}},
        {"value": {"choices": ["news"]}}, {"from_id": "a", "to_id": "b", "type": "relation"}]}]}]"#;
    let (read, notes) = items(&dataset("kind = \"label-studio\"", ""), task);
    assert_eq!(found(&read[0]), [("Ruvel", "PER", Some((0, 5)))]);
    assert_eq!(notes.count(&Note::OtherRegion), 1);

    let document = r#"{"text": "Ruvel met Okart.", "ents": [{"start": 0, "end": 5, "label": "PER"}], "spans": {"sc":
                      [{"start": 10, "end": 15, "label": "PER"}]}}"#;
    let (read, notes) = items(&dataset("kind = \"spacy\"", ""), &document.replace('\n', " "));
    assert_eq!((found(&read[0]).len(), notes.count(&Note::OtherRegion)), (1, 1));

    let task = r#"{"text": "Ruvel met Okart.", "answer": "accept", "spans": [{"start": 0, "end": 5, "label": "PER"},
                  {"start": 10, "end": 15, "label": "PER", "answer": "reject"}]}"#;
    let (read, notes) = items(&dataset("kind = \"prodigy\"", ""), &task.replace('\n', " "));
    assert_eq!((found(&read[0]).len(), notes.count(&Note::OtherRegion)), (1, 1));
}
