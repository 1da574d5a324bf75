//! The commands for external checks compute the numbers of the released code and of other
//! frameworks: on our own fixtures, and, if present, on the larger golden vectors.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Desk, fixture};

/// A file outside the repository. Without it the test prints a note and returns, or fails with
/// `UNER_REQUIRE_SHARED=1`.
fn shared(path: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("UNER_SHARED").map_or_else(beside, PathBuf::from);
    let found = root.join(path);
    if !found.exists() {
        let missing = format!(
            "`{}` does not exist; set UNER_SHARED to the folder that holds `{path}`",
            found.display()
        );
        let required = std::env::var("UNER_REQUIRE_SHARED").is_ok_and(|value| value == "1");
        assert!(!required, "{missing}");
        eprintln!("SKIPPED: {missing}");
        return None;
    }
    Some(found.canonicalize().unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn read(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}

/// Asserts that `found` has every number of `expected` under the same name.
#[track_caller]
fn assert_figures(found: &Value, expected: &Value, tolerance: f64, what: &str) {
    match expected {
        Value::Object(figures) => {
            for (name, figure) in figures {
                assert_figures(&found[name], figure, tolerance, &format!("{what}.{name}"));
            }
        }
        Value::Number(figure) => {
            let (found, figure) = (found.as_f64(), figure.as_f64().unwrap());
            let close = found.is_some_and(|found| (found - figure).abs() <= tolerance);
            assert!(close, "{what}: {found:?} is not {figure}");
        }
        other => assert_eq!(found, other, "{what}"),
    }
}

/// Runs `uner data encode` on these conversations.
fn encode(desk: &Desk, tokenizer: &Path, conversations: &[Value], flags: &[&str]) -> Vec<Value> {
    let input: Vec<String> =
        conversations.iter().map(|turns| json!({"conversations": turns}).to_string()).collect();
    desk.write("in.jsonl", &input.join("\n"));
    let tokenizer = tokenizer.to_str().unwrap();
    let args = [
        "data",
        "encode",
        "--template",
        "official",
        "--tokenizer",
        tokenizer,
        "--input",
        "in.jsonl",
    ];
    desk.uner(&[&args[..], &["--output", "out.jsonl"], flags].concat()).succeeds();
    let encoded = lines(&desk.read("out.jsonl"));
    assert_eq!(encoded.len(), conversations.len());
    encoded
}

#[test]
fn encoded_conversations_follow_the_rules_of_the_released_code() {
    let desk = Desk::new();
    let tokenizer = fixture("llama/masks/tokenizer.json");
    let expected = lines(&read(&fixture("llama/masks/conversations.jsonl")));
    let conversations: Vec<Value> =
        expected.iter().map(|line| line["conversations"].clone()).collect();
    for limit in [1024, 96] {
        let encoded = encode(
            &desk,
            &tokenizer,
            &conversations,
            &["--official", "--max-seq-len", &limit.to_string()],
        );
        let pairs =
            encoded.iter().zip(&expected).filter(|(_, expected)| expected["max_seq_len"] == limit);
        assert!(pairs.clone().count() > 0);
        for (found, expected) in pairs {
            assert_eq!((&found["ids"], &found["labels"]), (&expected["ids"], &expected["labels"]));
        }
    }
    let encoded = encode(&desk, &tokenizer, &conversations, &["--official", "--inference"]);
    for (found, expected) in encoded.iter().zip(&expected) {
        assert_eq!(found["ids"], expected["inference_ids"]);
    }
}

#[test]
fn encoded_conversations_are_those_of_the_released_code() {
    let (Some(golden), Some(tokenizer)) =
        (shared("golden/tokenization"), shared("data/llama-tokenizer/tokenizer.model"))
    else {
        return;
    };
    let desk = Desk::new();
    let expected = lines(&read(&golden.join("train.jsonl")));
    let conversations: Vec<Value> =
        expected.iter().map(|line| line["conversation"].clone()).collect();
    let encoded =
        encode(&desk, &tokenizer, &conversations, &["--official", "--max-seq-len", "1024"]);
    for (found, expected) in encoded.iter().zip(&expected) {
        assert_eq!(
            (&found["ids"], &found["labels"]),
            (&expected["ids"], &expected["labels"]),
            "{}",
            expected["id"]
        );
    }

    let prompts = lines(&read(&golden.join("inference.jsonl")));
    let asked: Vec<Value> = prompts.iter().map(|prompt| single_query(prompt, &expected)).collect();
    let encoded = encode(&desk, &tokenizer, &asked, &["--official", "--inference"]);
    for (found, prompt) in encoded.iter().zip(&prompts) {
        assert_eq!(found["ids"], prompt["ids_legacy"], "{}", prompt["id"]);
    }
}

/// The passage of a conversation with its reply, and the query at index `query`.
fn single_query(prompt: &Value, conversations: &[Value]) -> Value {
    let found = conversations.iter().find(|line| line["id"] == prompt["id"]).unwrap();
    let mut turns = found["conversation"].as_array().unwrap().as_slice();
    if turns[0]["from"] == "gpt" {
        turns = &turns[1..];
    }
    let query = 2 * prompt["query"].as_u64().unwrap() as usize;
    [&turns[..2], &turns[query..=query]].concat().into()
}

/// Runs `uner score` on queries.
fn score(folder: &Path) -> Value {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (gold, predictions) = (file("subset.json"), file("predictions.jsonl"));
    let outcome = Desk::new().uner(&["score", "--gold", &gold, "--predictions", &predictions]);
    serde_json::from_str(&outcome.succeeds().stdout).unwrap()
}

#[test]
fn scores_are_those_of_the_released_evaluator() {
    let goldens =
        ["CrossNER_AI", "mit-restaurant"].map(|name| shared(&format!("golden/evaluator/{name}")));
    for folder in goldens.into_iter().flatten().chain([fixture("evaluator")]) {
        let expected: Value = serde_json::from_str(&read(&folder.join("scores.json"))).unwrap();
        let mut official = expected["official"].clone();
        // The number of queries is not a score.
        official.as_object_mut().unwrap().remove("n_queries");
        assert_figures(&score(&folder)["official"], &official, 1e-9, &folder.display().to_string());
    }
}

#[test]
fn scores_of_tags_are_those_of_seqeval_and_nervaluate() {
    let Some(folder) = shared("golden/evaluator/spans") else { return };
    let expected: Value = serde_json::from_str(&read(&folder.join("expected.json"))).unwrap();
    for name in ["one_to_one", "many_to_many"] {
        let file = folder.join(format!("{name}.jsonl"));
        let outcome = Desk::new().uner(&["score", "--bio", file.to_str().unwrap()]);
        let found: Value = serde_json::from_str(&outcome.succeeds().stdout).unwrap();
        for mode in ["strict", "partial", "exact", "ent_type"] {
            for figure in ["precision", "recall", "f1"] {
                let expected = &expected[name]["nervaluate"]["overall"][mode][figure];
                assert_figures(
                    &found[mode][figure],
                    expected,
                    1e-9,
                    &format!("{name}.{mode}.{figure}"),
                );
            }
        }
    }
}

#[test]
fn a_probe_gives_the_numbers_of_transformers() {
    let folders = ["mha", "gqa", "odd"].map(|name| fixture("llama/models").join(name));
    for folder in folders {
        let case = folder.join("case.json");
        let expected: Value = serde_json::from_str(&read(&case)).unwrap();
        let desk = Desk::new();
        let [model, case] = [&folder, &case].map(|path| path.to_str().unwrap());
        let args =
            ["probe", "--model", model, "--input", case, "--output", "out.safetensors", "--grads"];
        let outcome = desk.uner(&[&args[..], &["--generate", "24"]].concat());
        let found: Value = serde_json::from_str(&outcome.succeeds().stdout).unwrap();
        assert_figures(&found["sum_loss"], &expected["sum_loss"], 1e-3, "sum_loss");
        assert_figures(&found["mean_loss"], &expected["mean_loss"], 1e-5, "mean_loss");
        assert_eq!(found["num_trained_tokens"], expected["num_trained_tokens"]);
        assert_figures(&found["grad_norm"], &expected["grad_norm"], 1e-3, "grad_norm");
        let rows = expected["generation"].as_array().unwrap();
        let rows: Vec<&Value> = rows.iter().map(|row| &row["new_tokens"]).collect();
        assert_eq!(found["generation"].as_array().unwrap().iter().collect::<Vec<_>>(), rows);
        assert!(desk.path("out.safetensors").is_file());
    }
}

#[test]
fn the_official_evaluation_files_are_rebuilt() {
    let (Some(released), Some(data)) = (shared("data/universal-ner/test_data"), shared("data"))
    else {
        return;
    };
    let desk = Desk::new();
    let data = data.to_str().unwrap();
    desk.uner(&["data", "official", "--output", "json", "--root", data]).succeeds();
    let mut compared = 0;
    for entry in fs_err::read_dir(released).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        let rebuilt = fs_err::read(desk.path("json").join(&name)).unwrap();
        assert!(rebuilt == fs_err::read(path).unwrap(), "{}", name.display());
        compared += 1;
    }
    assert_eq!(compared, 6);
    assert!(desk.path("json/mit-movie.json").exists());
}
