//! `model.head = "spans"`, as users have it.

use serde_json::Value;

use crate::Desk;
#[cfg(unix)]
use crate::serve::Running;

const HEAD: &str = "model.head=spans";
const NO_SCORES: &str = "eval.benchmarks=[]";
const TYPES: &str = "person,city";
const TEXT: &str = "Dr. Kelham flew to Balford, Zoë took the train to 東京.";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The entities that a model finds in a text, each of which is its span of the text.
fn entities(desk: &Desk, model: &str, text: &str, types: &str) -> Vec<Value> {
    let ask = ["predict", "--model", model, "--text", text, "--types", types];
    let found = json(&desk.uner(&ask).succeeds().stdout);
    let characters: Vec<char> = text.chars().collect();
    let entities = found["entities"].as_array().unwrap();
    for entity in entities {
        let at = |key: &str| entity["span"][key].as_u64().unwrap() as usize;
        let slice: String = characters[at("start")..at("end")].iter().collect();
        assert_eq!(entity["text"], slice, "{entity}");
        let probability = entity["probability"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&probability), "{entity}");
    }
    entities.clone()
}

#[test]
fn a_model_that_reads_learns() {
    let desk = Desk::new();
    let outcome = desk.train(&[
        HEAD,
        "train.epochs=40",
        "train.max_steps=300",
        "train.lr=5e-3",
        "train.save_every=1000",
        "data.negatives.strategy=closed-world",
        "eval.benchmarks=[{ dataset = \"demo\", split = \"train\", limit = 20 }]",
    ]);
    outcome.succeeds();
    // Without training, no entity is exactly right.
    let report = json(&desk.read("run/report.json"));
    let strict = report["outcomes"][0]["strict"]["f1"].as_f64().unwrap();
    assert!(strict > 0.2, "{strict}");
    let text = "The band had to repeat Golden Garden three times that night.";
    let songs = entities(&desk, "run", text, "song");
    assert!(songs.iter().any(|song| song["text"] == "Golden Garden"), "{songs:?}");
    // More text than the model's window of 512 tokens, which it reads twice.
    entities(&desk, "run", &format!("{text} ").repeat(20), "song");
}

#[test]
fn a_model_that_reads_is_planned_resumed_and_exported() {
    let desk = Desk::new();
    let dry = ["train", "--recipe", "tiny", "--dry-run", "--set", HEAD];
    let plan = desk.uner(&dry);
    assert!(plan.succeeds().stdout.contains("spans, in place of writing: 3,074 parameters"));
    desk.train(&[HEAD, "run.dir=whole"]).succeeds();
    // A run that is stopped after its second step.
    desk.train(&[HEAD, "run.dir=half", "eval.benchmarks=[]"]).succeeds();
    fs_err::remove_dir_all(desk.path("half/step-000004")).unwrap();
    desk.uner(&["train", "--recipe", "half/recipe.toml", "--resume"]).succeeds();
    let weights =
        |run: &str| fs_err::read(desk.path(&format!("{run}/step-000004/model.safetensors")));
    assert!(weights("half").unwrap() == weights("whole").unwrap(), "a resumed run is the same");

    desk.uner(&["export", "--model", "whole", "--output", "plain"]).succeeds();
    assert_eq!(entities(&desk, "plain", TEXT, TYPES), entities(&desk, "whole", TEXT, TYPES));
    let card = desk.read("plain/README.md");
    for part in ["library_name: uner", "pipeline_tag: token-classification", "| head | spans |"] {
        assert!(card.contains(part), "`{part}` is not in: {card}");
    }
    assert!(!desk.path("plain/PROMPT.md").exists());
    assert_eq!(json(&desk.read("plain/config.json"))["span_head"], true);
    desk.uner(&["export", "--model", "whole", "--gguf", "model.gguf"])
        .fails(1, &["the model has a span head"]);
}

#[test]
fn an_adapter_has_its_head() {
    let desk = Desk::new();
    desk.train(&[NO_SCORES]).succeeds();
    desk.train(&[
        HEAD,
        NO_SCORES,
        "model.weights=run/step-000004",
        "model.tokenizer=run/step-000004/tokenizer.json",
        "run.dir=adapted",
        "train.lr=1e-2",
        "model.adapter={ rank = 2, alpha = 4, dropout = 0.0, target_modules = [\"q_proj\"] }",
    ])
    .succeeds();
    let config = json(&desk.read("adapted/step-000004/adapter_config.json"));
    assert_eq!(config["modules_to_save"], serde_json::json!(["span_head"]));
    let expected = entities(&desk, "adapted", TEXT, TYPES);
    desk.uner(&["export", "--model", "adapted", "--merge", "--output", "merged"]).succeeds();
    let merged = entities(&desk, "merged", TEXT, TYPES);
    assert_eq!(merged.len(), expected.len());
    for (merged, expected) in merged.iter().zip(&expected) {
        assert_eq!(
            (&merged["span"], &merged["entity_type"]),
            (&expected["span"], &expected["entity_type"])
        );
    }
    // Its base still writes.
    desk.train(&[
        HEAD,
        NO_SCORES,
        "run.dir=again",
        "model.weights=merged",
        "model.tokenizer=merged/tokenizer.json",
    ])
    .succeeds();
}

#[test]
fn what_a_head_cannot_do_is_refused() {
    let desk = Desk::new();
    desk.train(&[HEAD, "prompt.template=relations"]).fails(2, &["`model.head", "relations"]);
    desk.train(&["model.head=span"]).fails(2, &["`model.head` is `span`; did you mean `spans`?"]);
    desk.uner(&["train", "--recipe", "tiny", "--set", HEAD, "--show-mask", "1"])
        .fails(1, &["there are none to show"]);
    desk.train(&[HEAD, NO_SCORES]).succeeds();
    let ask = ["predict", "--model", "run", "--text", TEXT, "--types", TYPES, "--decoding", "free"];
    desk.uner(&ask).fails(1, &["span head", "leave out"]);
    let weights = "model.weights=run/step-000004";
    desk.train(&[weights, "model.tokenizer=run/step-000004/tokenizer.json", "run.dir=b"])
        .fails(2, &["has a span head and does not write"]);
    let long = "type ".repeat(600);
    desk.uner(&["predict", "--model", "run", "--text", TEXT, "--types", &long])
        .fails(1, &["was made for 512"]);
}

#[cfg(unix)]
#[test]
fn a_server_reads_and_does_not_chat() {
    let desk = Desk::new();
    desk.train(&[HEAD, NO_SCORES]).succeeds();
    let server = Running::serve(&desk, &["--model", "run"]);
    let body = serde_json::json!({ "text": TEXT, "types": ["person", "city"] }).to_string();
    let (status, answer) = server.post("/v1/ner", &body);
    assert_eq!(status, 200, "{answer}");
    let found = json(&answer)["results"][0]["entities"].as_array().map(Vec::len);
    assert_eq!(found, Some(entities(&desk, "run", TEXT, TYPES).len()), "{answer}");
    let chat = serde_json::json!({ "messages": [{ "role": "user", "content": "Hello" }] });
    let (status, answer) = server.post("/v1/chat/completions", &chat.to_string());
    assert!(status >= 400 && answer.contains("does not chat"), "{status} {answer}");
}
