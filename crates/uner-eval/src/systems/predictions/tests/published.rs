//! Real predictions reach their published scores.

use uner_data::DatasetRef;

use super::*;

/// A file or folder of published material: from `UNER_SHARED`, else from `shared` next to the
/// repository. If it is missing, the test says so on stderr and returns, or fails with
/// `UNER_REQUIRE_SHARED=1`.
fn shared(path: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let root =
        std::env::var_os("UNER_SHARED").map_or_else(|| repository.join("shared"), PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    let required = std::env::var("UNER_REQUIRE_SHARED").is_ok_and(|value| value == "1");
    assert!(!required, "`{}` does not exist", found.display());
    eprintln!("SKIPPED: `{}` does not exist; set UNER_SHARED", found.display());
    None
}

#[test]
fn wnut17_submissions_reach_their_published_f1() {
    let Some(root) = shared("data") else { return };
    let dataset = DatasetRef::Name("wnut17".to_owned()).resolve().unwrap();
    // One submission corrected the spelling of words in 827 sentences.
    let published = [
        ("uh_ritual", 41.86, 0),
        ("spinningbytes.txt", 40.78, 0),
        ("sjtu_adapt.txt", 40.42, 0),
        ("arcada", 39.98, 0),
        ("flytxt", 38.35, 0),
        ("mic-cis.txt", 37.06, 827),
        ("drexel_cci", 26.30, 0),
    ];
    for (name, f1, by_tokens) in published {
        let path = root.join("wnut17/submissions").join(name);
        let mut system = PredictedAnswers::new(name);
        let coverage =
            system.add(&described(path, Format::Conll), (&dataset, "test"), &root).unwrap();
        let expected =
            Coverage { examples: 1287, predictions: 1287, by_tokens, ..coverage.clone() };
        assert_eq!(coverage, expected, "{name}");
        assert_eq!(coverage.problems().len(), usize::from(by_tokens > 0), "{name}");
        let report = score(&mut system, &dataset, &root, None);
        let found = report.scores.semeval.strict.f1 * 100.0;
        assert!((found - f1).abs() < 0.005, "{name}: {found} is not the published {f1}");
    }
}

/// The sentences of the golden vectors of InstructUIE's metric, with their right answers.
#[test]
fn right_answers_of_instructuie_have_every_entity_they_can_write() {
    let Some(folder) = shared("golden/instructuie") else { return };
    let text =
        "name = \"golden\"\n[format]\nkind = \"instructuie\"\n[splits]\ntest = \"examples.json\"\n";
    let dataset = Dataset::from_toml(text, "here").unwrap();
    let examples: Vec<serde_json::Value> =
        serde_json::from_str(&fs_err::read_to_string(folder.join("examples.json")).unwrap())
            .unwrap();
    let outputs = fs_err::read_to_string(folder.join("predictions.jsonl")).unwrap();
    let mut truths = vec![String::new(); examples.len()];
    for line in outputs.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let index = line["index"].as_u64().unwrap() as usize;
        truths[index] = line["ground_truth"].as_str().unwrap().to_owned();
    }
    let row = |(example, truth): (&serde_json::Value, &String)| {
        let instance = serde_json::json!({"sentence": example["sentence"]});
        serde_json::json!({"Instance": instance, "Prediction": truth}).to_string() + "\n"
    };
    let rows: String = examples.iter().zip(&truths).map(row).collect();
    let own = tempfile::tempdir().unwrap();
    let path = own.path().join("predict_eval_predictions.jsonl");
    fs_err::write(&path, rows).unwrap();
    let mut system = PredictedAnswers::new("golden");
    let predictions = described(path, Format::Instructuie);
    let coverage = system.add(&predictions, (&dataset, "test"), &folder).unwrap();
    assert_eq!(coverage.problems(), Vec::<String>::new());
    // The name `A; B` has the separator of the format, and is read as `A`. Of the 88 entities, the
    // right answers leave out two, whose types are `NA` and empty.
    let report = score(&mut system, &dataset, &folder, None);
    assert_eq!(strict(&report), (85, 86, 88));
}
