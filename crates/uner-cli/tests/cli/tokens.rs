//! `model.add_tokens`, as users have it.

use crate::Desk;

const BASE: [&str; 2] =
    ["model.weights=run/step-000004", "model.tokenizer=run/step-000004/tokenizer.json"];
const ADDED: &str = "model.add_tokens=[\"€\", \"<tool>\"]";

fn with_base() -> Desk {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    desk
}

fn read(desk: &Desk, name: &str) -> serde_json::Value {
    serde_json::from_str(&desk.read(name)).unwrap()
}

#[test]
fn a_vocabulary_grows_and_the_run_can_be_resumed() {
    let desk = with_base();
    let [first, second] = BASE;
    let train = |dir: &str, more: &[&str]| {
        let dir = format!("run.dir={dir}");
        desk.train(&[&[first, second, ADDED, &dir, "eval.benchmarks=[]"], more].concat())
            .succeeds();
    };
    train("whole", &[]);
    train("half", &["train.max_steps=2"]);
    let before = read(&desk, "run/step-000004/config.json")["vocab_size"].as_u64().unwrap();
    for step in ["whole/step-000004", "half/step-000002"] {
        let rows = read(&desk, &format!("{step}/config.json"))["vocab_size"].as_u64();
        assert_eq!(rows, Some(before + 2), "{step}");
        let tokenizer = read(&desk, &format!("{step}/tokenizer.json"));
        assert_eq!(tokenizer["model"]["vocab"]["€"].as_u64(), Some(before));
        let added = tokenizer["added_tokens"].as_array().unwrap();
        assert!(added.iter().any(|token| token["content"] == "<tool>"), "{added:?}");
    }
    let resume =
        ["train", "--recipe", "half/recipe.toml", "--resume", "--set", "train.max_steps=4"];
    desk.uner(&resume).succeeds();
    let weights = |dir: &str| {
        fs_err::read(desk.path(&format!("{dir}/step-000004/model.safetensors"))).unwrap()
    };
    // The learning rate falls over the length of a run, so the halves differ from the whole only
    // where the schedule does: compare shapes.
    assert_eq!(weights("half").len(), weights("whole").len());
    desk.uner(&["predict", "--model", "whole", "--text", "5 € for Tim", "--types", "person"])
        .succeeds();
}

#[test]
fn a_frozen_embedding_gets_no_tokens() {
    let desk = with_base();
    let adapter =
        "model.adapter={ rank = 2, alpha = 4, dropout = 0.0, target_modules = [\"q_proj\"] }";
    let [first, second] = BASE;
    desk.train(&[first, second, ADDED, "run.dir=adapted", adapter])
        .fails(2, &["`model.add_tokens` names `€`", "the embedding is frozen"]);
    desk.train(&[first, second, "model.add_tokens=[\"\"]", "run.dir=adapted"])
        .fails(1, &["`model.add_tokens`"]);
}
