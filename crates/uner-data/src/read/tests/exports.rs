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

const TOKENS: &str = "kind = \"token-classification\"";

#[test]
fn token_classification() {
    let names = format!("{TOKENS}\nnames = [\"O\", \"B-PER\", \"I-PER\", \"B-ORG\"]");
    let numbers = r#"{"id": "0", "tokens": ["Zoë", "Ruvel", "met", "Okart"], "ner_tags": [1, 2, 0, 3]}
        {"tokens": ["Okart"], "ner_tags": [4]}
        {"tokens": ["Okart"], "ner_tags": [2]}
        {"tokens": ["Okart"], "ner_tags": [0, 0]}
        {"tokens": "Okart", "ner_tags": [0]}
        {"tokens": [], "ner_tags": []}"#;
    let (read, notes) = items(&dataset(&names, ""), numbers);
    assert_eq!(read[0].as_ref().unwrap().id, "0");
    assert_eq!(
        found(&read[0]),
        [("Zoë Ruvel", "PER", Some((0, 9))), ("Okart", "ORG", Some((14, 19)))]
    );
    let error = |at: usize| read[at].as_ref().unwrap_err().as_str();
    assert_eq!(error(1), "file:2: tag `4` in `ner_tags` has no name: `names` has 4 names");
    assert_eq!(found(&read[2]), [("Okart", "PER", Some((0, 5)))]);
    assert_eq!(notes.count(&Note::InconsistentTag), 1);
    assert_eq!(error(3), "file:4: the row has 1 tokens and 2 tags in `ner_tags`");
    assert_eq!(error(4), "file:5: the row has no list `tokens`");
    assert_eq!(read[5].as_ref().unwrap().text, "");

    let strings = r#"[{"words": ["Okart", "met"], "labels": ["S-ORG", "O"]}]"#;
    let keys = format!("{TOKENS}\ntokens = \"words\"\ntags = \"labels\"\nscheme = \"iobes\"");
    let (read, _) = items(&dataset(&keys, ""), strings);
    assert_eq!(found(&read[0]), [("Okart", "ORG", Some((0, 5)))]);
    let (read, _) = items(&dataset(TOKENS, ""), r#"{"tokens": ["a"], "ner_tags": [0]}"#);
    assert!(read[0].as_ref().unwrap_err().contains("set `names`"), "{read:?}");
    let (read, _) = items(&dataset(TOKENS, ""), r#"{"tokens": ["a"], "ner_tags": [null]}"#);
    assert!(read[0].as_ref().unwrap_err().contains("`null` in `ner_tags` is neither"), "{read:?}");
}

#[test]
fn spacy_spans_of_named_groups_are_entities() {
    let document = r#"{"id": "a", "text": "Ruvel Okart", "ents": [{"start": 0, "end": 5, "label": "ORG"}], "spans": {"sc": [{"start": 6, "end": 11, "label": "ORG"}], "other": [{"start": 0, "end": 11, "label": "ORG"}]}}"#;
    let (read, notes) = items(&dataset("kind = \"spacy\"\nspans = [\"sc\"]", ""), document);
    assert_eq!(found(&read[0]), [RUVEL, ("Okart", "ORG", Some((6, 11)))]);
    assert_eq!(read[0].as_ref().unwrap().id, "a");
    assert_eq!(notes.count(&Note::OtherRegion), 1);
}

#[test]
fn spacy_tags_that_are_unknown_or_break_the_scheme_are_counted() {
    let documents = r#"[{"id": "a", "paragraphs": [{"sentences": [{"tokens": [{"orth": "Ruvel", "ner": "I-ORG"},
        {"orth": "met", "ner": "-"}, {"orth": "Okart"}]}]}]}, {"id": 0, "paragraphs": [{"raw": "x", "sentences": []}]}]"#;
    let (read, notes) = items(&dataset("kind = \"spacy\"", ""), documents);
    assert_eq!(found(&read[0]), [RUVEL]);
    let ids: Vec<&str> = read.iter().map(|item| item.as_ref().unwrap().id.as_str()).collect();
    assert_eq!(ids, ["a", "train_1"], "a number is spaCy's own");
    assert_eq!((notes.count(&Note::UnknownTag), notes.count(&Note::InconsistentTag)), (2, 2));
}

#[test]
fn label_studio_ids() {
    let tasks = r#"[{"id": 7, "data": {"id": "a", "text": "Ruvel"}, "annotations": [{"result": []}]},
        {"data": {"id": "b", "text": "Ruvel"}, "annotations": [{"result": []}]}]"#;
    let ids = |format: &str| {
        let (read, _) = items(&dataset(format, ""), tasks);
        read.into_iter().map(|item| item.unwrap().id).collect::<Vec<String>>()
    };
    assert_eq!(ids("kind = \"label-studio\""), ["7", "b"]);
    assert_eq!(ids("kind = \"label-studio\"\nid = \"id\""), ["a", "b"]);
}

/// A mention with a backslash and an `n` is itself; Label Studio writes line breaks in the same
/// way.
#[test]
fn label_studio_mentions_with_backslashes() {
    let task = |text: &str, mention: &str| {
        let value = serde_json::json!({"start": 0, "end": 3, "text": mention, "labels": ["X"]});
        serde_json::json!([{"data": {"text": text}, "annotations": [{"result": [{"value": value}]}]}])
            .to_string()
    };
    let format = dataset("kind = \"label-studio\"", "");
    for (text, mention) in [("a\nb", "a\\nb"), ("a\nb", "a\nb")] {
        let (read, _) = items(&format, &task(text, mention));
        assert_eq!(found(&read[0]), [("a\nb", "X", Some((0, 3)))]);
    }
    let (read, _) = items(&format, &task("\\nb", "\\nb"));
    assert_eq!(found(&read[0]), [("\\nb", "X", Some((0, 3)))]);
    let (read, _) = items(&format, &task("a b", "a\\nb"));
    assert!(read[0].is_err(), "{read:?}");
}

#[test]
fn spans_may_have_queries_and_no_offsets() {
    let format = dataset("kind = \"jsonl\"\nqueries = \"types\"", "");
    let rows = r#"{"text": "Ruvel", "types": ["PER", "ORG"], "entities": [{"start": 0, "end": 5, "label": "ORG"}]}
        {"text": "Ruvel Ruvel", "entities": [{"start": null, "end": null, "label": "ORG", "text": "Ruvel"}, {"start": null, "end": null, "label": "X", "text": "Oslo"}]}
        {"text": "Ruvel", "types": "ORG", "entities": []}
        {"text": "Ruvel", "types": ["PER"], "entities": [[0, 5, "ORG"]]}"#;
    let (read, notes) = items(&format, rows);
    assert_eq!(read[0].as_ref().unwrap().queries, ["PER", "ORG"]);
    assert_eq!(found(&read[1]), [RUVEL, ("Oslo", "X", None)]);
    assert_eq!(notes.count(&Note::MentionNotInText), 1);
    assert_eq!(
        read[2].as_ref().unwrap_err(),
        "file:3: `types` is not a list of strings: `\"ORG\"`"
    );
    assert_eq!(read[3].as_ref().unwrap().queries, ["PER", "ORG"]);
}

#[test]
fn rows_of_columns_have_ids() {
    let format = format!("{COLUMNS}\ncomment_rows = [\"# \"]\nid_rows = \"# id = \"");
    let rows = "# id = a\nRuvel B-ORG\n\n# id = empty\n\nOkart O\n# id = \"b\\n\"\n# text\nOkart O\n\n# idle\nOkart O\n";
    let (read, _) = items(&dataset(&format, "types = \"as-written\""), rows);
    let ids: Vec<&str> = read.iter().map(|item| item.as_ref().unwrap().id.as_str()).collect();
    assert_eq!(ids, ["a", "train_1", "b\n", "train_3"]);
}

#[test]
fn an_index_of_brat_has_every_document() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
    write("1.txt", "Ruvel");
    write("1.ann", "T1\tORG 0 5\tRuvel\n");
    write("2.txt", "x");
    write("2.ann", "");
    write("index.jsonl", "{\"id\": \"a/b\", \"file\": \"1\"}\n");
    let text = "name = \"own\"\ntypes = \"as-written\"\nsplits = { train = \"\" }\n[format]\nkind = \"brat\"\nindex = \"index.jsonl\"";
    let format = Dataset::from_toml(text, "own").unwrap();
    let read = || crate::read(&format, "train", folder.path()).unwrap().collect::<Vec<_>>();
    let found = read();
    assert_eq!(found[0].as_ref().unwrap().id, "a/b");
    let problem = found[1].as_ref().unwrap_err().to_string();
    assert!(problem.ends_with("add its row `{\"id\": \"…\", \"file\": \"2\"}`"), "{problem}");
    write("index.jsonl", "{\"id\": \"a/b\"}\n");
    let problem = read()[0].as_ref().unwrap_err().to_string();
    assert!(problem.contains("index.jsonl:1: the row is not"), "{problem}");
}
