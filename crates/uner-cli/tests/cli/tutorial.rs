//! `docs/tutorial.md`, as printed: its files are written, and its commands are run, with a teacher
//! that knows the entities of the demo corpus.

#[path = "../../../uner-endpoint/tests/endpoint/server.rs"]
#[expect(dead_code, reason = "the tests of the endpoint use the other parts")]
mod server;

use std::collections::HashMap;

use serde_json::Value;

use crate::Desk;
use crate::serve::Running;
use server::{Reply, Server};

const PAGE: &str = include_str!("../../../../docs/tutorial.md");

/// The fenced blocks of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let starts = PAGE.match_indices(&opening).map(|(at, fence)| at + fence.len());
    starts.map(|start| PAGE[start..].split("```").next().unwrap()).collect()
}

/// A command line in words; double quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(number, part)| -> Vec<String> {
        if number % 2 == 1 {
            vec![part.to_owned()]
        } else {
            part.split_whitespace().map(str::to_owned).collect()
        }
    });
    words.collect()
}

/// The teacher's answer about each text of the demo corpus.
fn answers() -> HashMap<String, String> {
    let examples = uner_data::demo::examples("train", 1).unwrap();
    let answer = |example: uner_data::Example| {
        let pairs = example.entities.iter().map(|entity| (&*entity.text, &*entity.entity_type));
        let tuples: Vec<String> =
            pairs.map(|(mention, name)| format!("(\"{mention}\", \"{name}\")")).collect();
        (example.text, format!("[{}]", tuples.join(", ")))
    };
    examples.map(answer).collect()
}

#[test]
fn the_tutorial_works_as_printed() {
    let desk = Desk::new();
    let answers = answers();
    let server = Server::start(move |_, seen| {
        let text = seen.text().rsplit("Passage: ").next().unwrap();
        Reply::completion(&answers[text])
    });
    for block in blocks("toml") {
        let name = block.lines().next().unwrap().trim_start_matches("# ");
        desk.write(name, &block.replace("http://localhost:8000/v1", &server.url()));
    }
    let commands: Vec<&str> =
        blocks("sh").into_iter().flat_map(str::lines).filter(|line| !line.is_empty()).collect();
    assert_eq!(commands.len(), 10);
    for command in commands {
        let words = words(command);
        assert_eq!(words[0], "uner");
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        if arguments[0] == "serve" {
            let server = Running::serve(&desk, &arguments[1..]);
            let body = PAGE.split("-d '").nth(1).unwrap().split('\'').next().unwrap();
            let (status, answer) = server.post("/v1/ner", body);
            assert_eq!(status, 200, "{answer}");
            assert!(server.stop().success());
            continue;
        }
        let outcome = desk.uner(&arguments);
        assert_eq!(outcome.code, Some(0), "{command}: {}", outcome.stderr);
    }
    let asked = server.seen().len();
    assert!((1_000..=1_500).contains(&asked), "{asked} passages are distinct");
    let report = desk.read("distilled/report.md");
    for title in ["Types", "person", "city"] {
        assert!(report.contains(title), "{report}");
    }
    let scores: Value = serde_json::from_str(&desk.read("run/report.json")).unwrap();
    let f1 = scores["macro_average"]["strict_f1"].as_f64().unwrap();
    assert!(f1 > 0.02, "strict F1 of {f1}: the model has learnt nothing");
}
