//! `uner predict` from files to files.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{Desk, Outcome};

/// A desk with a trained model, and the arguments that ask it.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    desk
}

fn predict(desk: &Desk, args: &[&str]) -> Outcome {
    desk.uner(&[&["predict", "--model", "run", "--max-new-tokens", "6"][..], args].concat())
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Checks that every entity is its slice of the text, in characters and in bytes.
fn assert_grounded(row: &Value) {
    let text = row["text"].as_str().unwrap();
    let characters: Vec<char> = text.chars().collect();
    for entity in row["entities"].as_array().unwrap() {
        let index = |key: &str| usize::try_from(entity[key].as_u64().unwrap()).unwrap();
        let mention = entity["text"].as_str().unwrap();
        let slice: String = characters[index("start")..index("end")].iter().collect();
        assert_eq!(slice, mention);
        assert_eq!(&text[index("start_byte")..index("end_byte")], mention);
        assert!((0.0..=1.0).contains(&entity["probability"].as_f64().unwrap()));
    }
}

#[test]
fn a_file_of_documents_becomes_a_file_of_entities() {
    let desk = desk();
    let long = "Zoë went to Rome. She met Bob \u{1f680} there, and \"Al\" \\ too.\r\n".repeat(80);
    let texts = ["Tim lives in Rome.", "", "  \n ", &long, "e\u{301}a\u{300} \u{5d0}\u{5d1} Tim"];
    let lines: Vec<String> = texts.iter().map(|text| json!({"text": text}).to_string()).collect();
    desk.write("in.jsonl", &lines.join("\n"));
    let args = ["--input", "in.jsonl", "--output", "out.jsonl", "--types", "person,city"];
    predict(&desk, &args).succeeds();
    let whole = desk.read("out.jsonl");
    let found = rows(&whole);
    assert_eq!(found.len(), texts.len());
    for (row, text) in found.iter().zip(texts) {
        assert_eq!(row["text"], *text);
        assert_grounded(row);
    }
    assert!(found[1]["entities"].as_array().unwrap().is_empty());

    // Nothing is overwritten; a cut output goes on where it was cut, to the same bytes.
    predict(&desk, &args).fails(1, &["out.jsonl", "exists already"]);
    for cut in [0, 10, whole.len() / 3, whole.len() - 1, whole.len()] {
        fs_err::write(desk.path("out.jsonl"), &whole.as_bytes()[..cut]).unwrap();
        predict(&desk, &[&args[..], &["--resume"]].concat()).succeeds();
        assert_eq!(desk.read("out.jsonl"), whole, "cut after {cut} bytes");
    }
    desk.write("in.jsonl", &json!({"text": "other", "id": "x"}).to_string());
    predict(&desk, &[&args[..], &["--resume"]].concat()).fails(1, &["`in.jsonl` has changed"]);
}

#[test]
fn types_come_from_the_command_line_a_file_or_a_column() {
    let desk = desk();
    desk.write("types.txt", "person\n\n  city \nperson\n");
    desk.write("in.csv", "name,body,kinds\na,Tim lives in Rome.,\"city; person\"\nb,Bob.,\n");
    let columns = ["--text-key", "body", "--id-key", "name", "--types-key", "kinds"];
    let args = ["--input", "in.csv", "--output", "out.jsonl", "--types-file", "types.txt"];
    let outcome = predict(&desk, &[&args[..], &columns].concat());
    assert!(outcome.succeeds().stderr.contains("`person` is named twice"), "{}", outcome.stderr);
    let ids: Vec<Value> =
        rows(&desk.read("out.jsonl")).iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, ["a", "b"]);

    let none = ["--input", "in.csv", "--output", "none.jsonl", "--text-key", "body"];
    predict(&desk, &none).fails(1, &["name the entity types to find", "--types-key"]);
    predict(&desk, &["--text", "Tim"]).fails(1, &["name the entity types to find"]);
    predict(&desk, &["--text", "Tim", "--types", "a,,b"]).fails(1, &["an entity type is empty"]);
    let wrong = ["--input", "in.csv", "--output", "none.jsonl", "--types", "a"];
    predict(&desk, &wrong).fails(1, &["in.csv", "`text`", "body"]);
    assert!(!desk.path("none.jsonl").exists(), "nothing is written for an input that is refused");
}

#[test]
fn formats_folders_and_the_standard_input() {
    let desk = desk();
    fs_err::create_dir_all(desk.path("texts/deep")).unwrap();
    desk.write("texts/b.txt", "Bob sleeps.");
    desk.write("texts/deep/a.txt", "Tim lives in Rome.");
    for format in ["conll", "spacy", "label-studio", "brat"] {
        let output = format!("out-{format}");
        let args = ["--input", "texts", "--output", &output, "--output-format", format];
        predict(&desk, &[&args[..], &["--types", "person,city"]].concat()).succeeds();
        assert!(desk.path(&output).exists());
    }
    assert!(desk.path("out-brat").is_dir());

    let mut command = Command::new(env!("CARGO_BIN_EXE_uner"));
    command.current_dir(desk.path("")).stdin(Stdio::piped()).args(["predict", "--model", "run"]);
    command.args(["--input", "-", "--input-format", "lines", "--output", "piped.jsonl"]);
    let mut child = command.args(["--types", "person"]).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), "Tim.\n\nBob.\n".as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rows(&desk.read("piped.jsonl")).len(), 2);
}

#[test]
fn bad_documents_are_named() {
    let desk = desk();
    let args = ["--input", "in.jsonl", "--output", "out.jsonl", "--types", "person"];
    desk.write("in.jsonl", "{\"text\": \"Tim.\"}\n{\"body\": \"Bob.\"}\n");
    predict(&desk, &args).fails(1, &["in.jsonl", ":2", "`text`"]);
    fs_err::write(desk.path("in.jsonl"), b"{\"text\": \"Tim.\"}\n{\"text\": \"\xff\"}\n").unwrap();
    predict(&desk, &args).fails(1, &["in.jsonl", ":2", "UTF-8"]);
    assert!(!desk.path("out.jsonl").exists());

    // A type that leaves no room for a text: its document gets the problem.
    let long = "very ".repeat(300);
    let lines = [json!({"text": "Tim.", "types": [long]}), json!({"text": "Bob.", "types": ["a"]})];
    desk.write("in.jsonl", &lines.map(|line| line.to_string()).join("\n"));
    let own = ["--input", "in.jsonl", "--output", "out.jsonl", "--types-key", "types"];
    let outcome = predict(&desk, &own);
    assert!(
        outcome.succeeds().stderr.contains("1 documents could not be answered"),
        "{}",
        outcome.stderr
    );
    let found = rows(&desk.read("out.jsonl"));
    assert!(found[0]["problem"].as_str().unwrap().contains("not even one character fits"));
    assert!(found[1].get("problem").is_none_or(|problem| problem != &found[0]["problem"]));
}

#[test]
fn a_threshold_leaves_out_what_is_less_probable() {
    let desk = desk();
    let ask = |threshold: &str| {
        let args =
            ["--text", "Tim lives in Rome.", "--types", "person,city", "--threshold", threshold];
        let outcome = predict(&desk, &args);
        let json: Value = serde_json::from_str(&outcome.succeeds().stdout).unwrap();
        json["entities"].as_array().unwrap().clone()
    };
    let all = ask("0");
    let limit = |threshold: f64| {
        all.iter().filter(|entity| entity["probability"].as_f64().unwrap() >= threshold).count()
    };
    assert_eq!(ask("0.5").len(), limit(0.5));
    assert!(Path::new(&desk.path("run")).exists());
    let outcome = predict(&desk, &["--text", "a", "--types", "b", "--threshold", "2"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_reported() {
    let desk = desk();
    desk.write("in.jsonl", &"{\"text\": \"Tim lives in Rome.\"}\n".repeat(400));
    let mut command = Command::new(env!("CARGO_BIN_EXE_uner"));
    command.current_dir(desk.path("")).args(["predict", "--model", "run", "--types", "person"]);
    command.args(["--input", "in.jsonl", "--output", "out.jsonl"]).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // The input has been counted once the output exists.
    while !desk.path("out.jsonl").exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let mut file = fs_err::OpenOptions::new().append(true).open(desk.path("in.jsonl")).unwrap();
    std::io::Write::write_all(&mut file, b"{\"text\": \"Bob.\"}\n").unwrap();
    let outcome = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(outcome.stderr).unwrap();
    assert_eq!(outcome.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("`in.jsonl` changed while it was read"), "{stderr}");
    assert!(rows(&desk.read("out.jsonl")).len() >= 400);
}

#[test]
fn draws_depend_on_the_seed_and_on_nothing_else() {
    let desk = desk();
    let ask = |text: &str, options: &[&str]| {
        let args = ["--text", text, "--types", "person,city", "--decoding", "free", "--raw"];
        let outcome = predict(&desk, &[&args[..], options].concat());
        let json: Value = serde_json::from_str(&outcome.succeeds().stdout).unwrap();
        json["raw"].to_string()
    };
    let text = "Tim lives in Rome.";
    let hot = |seed: &str| ask(text, &["--temperature", "9", "--seed", seed]);
    assert_eq!(hot("1"), hot("1"));
    assert!((2..8).any(|seed| hot(&seed.to_string()) != hot("1")), "seven draws are equal");
    // Of one token there is no choice.
    let nucleus = ["--temperature", "9", "--top-p", "0"];
    assert_eq!(ask(text, &nucleus), ask(text, &[]));

    let args = ["--text", text, "--types", "person"];
    for (options, problem) in [
        (&["--temperature", "0"][..], "above 0"),
        (&["--top-p", "0.5"], "--temperature"),
        (&["--temperature", "1", "--top-p", "1.5"], "from 0 to 1"),
    ] {
        predict(&desk, &[&args[..], options].concat()).fails(2, &[problem]);
    }
}
