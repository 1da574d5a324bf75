//! Tests of relations.

use super::*;

/// Type and argument texts of each relation.
fn relations(item: &Result<Example, String>) -> Vec<(&str, Vec<&str>)> {
    let example = item.as_ref().unwrap();
    let check = |relation: &crate::Relation| {
        relation.arguments.iter().all(|argument| {
            argument.span.and_then(|span| span.slice(&example.text)) == Some(&argument.text)
        })
    };
    assert!(example.relations.iter().all(check), "{example:?}");
    let found = |relation: &'_ crate::Relation| relation.relation_type.clone();
    let names: Vec<String> = example.relations.iter().map(found).collect();
    assert!(example.queries.iter().all(|query| names.contains(query)));
    example.relations.iter().map(|relation| (&*relation.relation_type, relation.texts())).collect()
}

#[test]
fn scierc_counts_tokens_in_the_document() {
    let rows = r#"{"doc_key": "d", "sentences": [["We", "like", "Zoë"], ["CNN", "beats", "the", "old", "SVM"], []],
        "ner": [], "relations": [[], [[3, 3, 6, 7, "COMPARE"], [3, 3, 6, 7, "COMPARE"], [7, 7, 3, 3, "USED-FOR"]], []]}
{"sentences": [["a", "b"]], "relations": [[[0, 0, 2, 2, "COMPARE"]]]}
{"sentences": [["a"]], "relations": []}"#
        .replace("[]],\n       ", "[]],");
    let types = "types = { COMPARE = \"comparison\", USED-FOR = \"use\" }";
    let (items, notes) = items(&dataset("kind = \"scierc\"\ncontainer = \"lines\"", types), &rows);
    assert!(relations(&items[0]).is_empty());
    assert_eq!(
        relations(&items[1]),
        [("comparison", vec!["CNN", "old SVM"]), ("use", vec!["SVM", "CNN"])]
    );
    assert_eq!(items[1].as_ref().unwrap().id, "d#1");
    assert_eq!(notes.count(&Note::RepeatedEntity), 1);
    let error = items[3].as_ref().unwrap_err();
    assert!(error.contains("relation `COMPARE` is not a range of the 2 tokens"), "{error}");
    let error = items[4].as_ref().unwrap_err();
    assert!(error.contains("`relations` has 0 lists, but `sentences` has 1"), "{error}");
}

#[test]
fn spert_points_to_entities() {
    let rows = r#"[{"tokens": ["Ada", "lives", "in", "New", "York"], "orig_id": 3,
        "entities": [{"type": "Loc", "start": 3, "end": 5}, {"type": "Peop", "start": 0, "end": 1}],
        "relations": [{"type": "Live_In", "head": 1, "tail": 0}]},
        {"tokens": ["x"], "entities": [], "relations": [{"type": "Live_In", "head": 0, "tail": 1}]}]"#;
    let (items, _) =
        items(&dataset("kind = \"spert\"", "types = { Live_In = \"lives in\" }"), rows);
    assert_eq!(relations(&items[0]), [("lives in", vec!["Ada", "New York"])]);
    assert!(items[1].as_ref().unwrap_err().contains("relation `Live_In`"));
}

fn brat(format: &str, text: &str, annotations: &str) -> (Vec<Result<Example, String>>, Notes) {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("a.txt"), text).unwrap();
    fs_err::write(folder.path().join("a.ann"), annotations).unwrap();
    let format = format!("kind = \"brat\"\nrelations = true\n{format}");
    let mut dataset = dataset(&format, "types = { EFFECT = \"effect\", INT = \"interaction\" }");
    dataset.splits.insert("folder".to_owned(), crate::dataset::Files::One(".".into()));
    let mut examples = read(&dataset, "folder", folder.path()).unwrap();
    let items = examples.by_ref().map(|item| item.map_err(|error| error.to_string())).collect();
    (items, examples.notes().clone())
}

const TEXT: &str = "Zoë takes A. It raises B. C is here. D.\n";
const ROWS: &str = "T1\tDRUG 10 11\tA\nT2\tGROUP 23 24\tB\nT3\tDRUG 26 27\tC\n\
    R1\tEFFECT Arg1:T2 Arg2:T1\nR2\tINT Arg1:T3 Arg2:T3\nR3\tEFFECT Arg1:T2 Arg2:T1\n";

#[test]
fn brat_has_relations_between_mentions() {
    let (items, notes) = brat("", TEXT, ROWS);
    let expected = [("effect", vec!["B", "A"]), ("interaction", vec!["C", "C"])];
    assert_eq!(relations(&items[0]), expected);
    assert_eq!((items.len(), notes.count(&Note::RepeatedEntity)), (1, 1));
    assert_eq!(items[0].as_ref().unwrap().text, TEXT);

    for (row, found) in [
        ("R1\tEFFECT Arg1:T2 Arg2:T9", "R1\tEFFECT Arg1:T2 Arg2:T9"),
        ("R1\tEFFECT Arg1:T2", "R1\tEFFECT Arg1:T2"),
        ("R1\tOTHER Arg1:T2 Arg2:T1", "OTHER"),
    ] {
        let rows = format!("{ROWS}{row}\n");
        let error = brat("", TEXT, &rows).0.remove(0).unwrap_err();
        assert!(error.contains("a.ann:7") && error.contains(&crate::visible(found)), "{error}");
    }
}

#[test]
fn brat_can_be_cut_into_sentences_that_relations_do_not_cross() {
    let (items, _) = brat("sentences = true", TEXT, ROWS);
    let texts: Vec<&str> = items.iter().map(|item| &*item.as_ref().unwrap().text).collect();
    assert_eq!(texts, ["Zoë takes A. It raises B.", "C is here.", "D."]);
    assert_eq!(relations(&items[0]), [("effect", vec!["B", "A"])]);
    assert_eq!(relations(&items[1]), [("interaction", vec!["C", "C"])]);
    assert_eq!(items[1].as_ref().unwrap().id, "a#1");

    // A mention with the blank after its sentence is no reason to lose the relation.
    let rows = "T1\tDRUG 10 11\tA\nT2\tGROUP 23 26\tB. \nR1\tINT Arg1:T1 Arg2:T2\n";
    let (items, _) = brat("sentences = true", TEXT, rows);
    assert_eq!(relations(&items[0]), [("interaction", vec!["A", "B. "])]);
}
