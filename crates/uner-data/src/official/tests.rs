use super::*;
use crate::shared::shared;

#[test]
fn orders_have_every_type_once() {
    for file in FILES {
        let dataset = registry::find(file.dataset).unwrap();
        let types = dataset.entity_types();
        for line in file.orders.lines() {
            let mut order = ordered(line, &types);
            order.sort_unstable();
            let mut all = types.clone();
            all.sort_unstable();
            assert_eq!(order, all, "{}: {line}", file.dataset);
        }
    }
}

#[test]
fn other_datasets_have_no_official_file() {
    let error = write("crossner-a", "nowhere".as_ref(), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("did you mean `crossner-ai`?"), "{error}");
    let error = write("ncbi", "nowhere".as_ref(), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, DataError::UnknownDataset { .. }), "{error}");
}

#[test]
fn other_passages_than_the_published_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(folder.path().join("crossner/ai")).unwrap();
    fs_err::write(folder.path().join("crossner/ai/test.txt"), "Prolog\tB-programlang\n.\tO\n\n")
        .unwrap();
    let mut out = Vec::new();
    let error = write("crossner-ai", folder.path(), &mut out).unwrap_err().to_string();
    assert!(error.contains("fewer passages than `CrossNER_AI.json`, which has 431"), "{error}");
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(
        r#"[{"id": "CrossNER_AI_0", "conversations": [{"from": "human", "value": "Text: Prolog ."}, {"from": "gpt", "value": "I've read this text."}, {"from": "human", "value": "What describes organization in the text?"}, {"from": "gpt", "value": "[]"}]}, "#
    ));
    assert!(text.contains(
        r#""What describes program language in the text?"}, {"from": "gpt", "value": "[\"Prolog\"]"}"#
    ));
}

#[test]
fn official_files_are_rebuilt_byte_for_byte() {
    let Some(root) = shared("data") else { return };
    for (dataset, file) in files().filter(|(dataset, _)| *dataset != "mit-movie") {
        let expected = fs_err::read(root.join("universal-ner/test_data").join(&file)).unwrap();
        let mut rebuilt = Vec::with_capacity(expected.len());
        write(dataset, &root, &mut rebuilt).unwrap();
        let differs = rebuilt.iter().zip(&expected).position(|(ours, theirs)| ours != theirs);
        assert_eq!((differs, rebuilt.len()), (None, expected.len()), "{file}");
    }
}

/// The paper's table 6 has 2,442 passages of MIT Movie; each has 12 types.
#[test]
fn the_file_that_was_not_released_has_as_many_queries_as_the_paper() {
    let Some(root) = shared("data") else { return };
    let mut json = Vec::new();
    assert_eq!(write("mit-movie", &root, &mut json).unwrap(), 2_442 * 12);
    let records: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    assert_eq!(records[0]["id"], "mit-movie_0");
}
