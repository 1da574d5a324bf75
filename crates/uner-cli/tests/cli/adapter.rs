//! Adapters as users have them: trained on a model folder, queried, resumed, exported.

use std::path::Path;

use serde_json::Value;

use crate::{Desk, Outcome};

/// The checkpoint of the base, and one of the adapter.
const BASE: &str = "run/step-000004";
const ADAPTER: &str = "adapted/step-000004";

const SETTINGS: &str = "model.adapter={ rank = 2, alpha = 4, dropout = 0.1, target_modules = [\"q_proj\", \"down_proj\"] }";
const ASK: [&str; 4] = ["--text", "Tim Cook runs Apple.", "--types", "person"];

/// A desk with a trained model.
fn with_base() -> Desk {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    desk
}

fn train(desk: &Desk, sets: &[&str], more: &[&str]) -> Outcome {
    let weights = format!("model.weights={BASE}");
    let tokenizer = format!("model.tokenizer={BASE}/tokenizer.json");
    let always = ["run.dir=adapted", "train.lr=0.05", &weights, &tokenizer, SETTINGS];
    let sets = always.iter().chain(sets).flat_map(|value| ["--set", value]);
    let args = ["train", "--recipe", "tiny"].into_iter().chain(sets).chain(more.iter().copied());
    desk.uner(&args.collect::<Vec<_>>())
}

fn predict(desk: &Desk, model: &[&str]) -> Outcome {
    desk.uner(&[&["predict", "--model"][..], model, &ASK].concat())
}

fn losses(desk: &Desk, run: &str) -> Vec<String> {
    let text = desk.read(&format!("{run}/metrics.jsonl"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "step").map(|line| line["loss"].to_string()).collect()
}

fn exists(desk: &Desk, name: &str) -> bool {
    desk.path(name).exists()
}

#[test]
fn an_adapter_is_trained_asked_and_exported() {
    let desk = with_base();
    let plan = train(&desk, &[], &["--dry-run"]);
    let line = "adapter     rank 2, alpha 4, dropout 0.1 on q_proj, down_proj: ";
    assert!(plan.succeeds().stdout.contains(line), "{}", plan.stdout);
    train(&desk, &[], &[]).succeeds();
    for (name, is_there) in [
        ("adapter_config.json", true),
        ("adapter_model.safetensors", true),
        ("model.safetensors", false),
    ] {
        assert_eq!(exists(&desk, &format!("{ADAPTER}/{name}")), is_there, "{name}");
    }
    let config: Value =
        serde_json::from_str(&desk.read(&format!("{ADAPTER}/adapter_config.json"))).unwrap();
    assert_eq!(Path::new(config["base_model_name_or_path"].as_str().unwrap()), desk.path(BASE));
    let expected = predict(&desk, &["adapted"]).succeeds().stdout.clone();
    desk.uner(&["eval", "--model", "adapted", "--benchmark", "demo", "--limit", "2"]).succeeds();

    let export = |output: &str, more: &[&str]| {
        desk.uner(&[&["export", "--model", "adapted", "--output", output][..], more].concat())
    };
    export("merged", &["--merge", "--max-shard-size", "50KB"]).succeeds();
    for name in [
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
        "template.toml",
        "infer.toml",
    ] {
        assert!(exists(&desk, &format!("merged/{name}")), "{name}");
    }
    assert!(!exists(&desk, "merged/adapter_config.json") && !exists(&desk, "merged.tmp"));
    assert_eq!(predict(&desk, &["merged"]).succeeds().stdout, expected);

    export("adapter", &[]).succeeds();
    assert!(
        exists(&desk, "adapter/adapter_model.safetensors")
            && exists(&desk, "adapter/tokenizer.json")
    );
    assert!(!exists(&desk, "adapter/optimizer.safetensors"));
    assert_eq!(predict(&desk, &["adapter"]).succeeds().stdout, expected);
    let size = |name: &str| fs_err::metadata(desk.path(name)).unwrap().len();
    export("half", &["--dtype", "bf16"]).succeeds();
    let file = "adapter_model.safetensors";
    assert!(size(&format!("half/{file}")) < size(&format!("adapter/{file}")));
    predict(&desk, &["half"]).succeeds();

    desk.uner(&["export", "--model", "run", "--output", "bf16", "--dtype", "bf16"]).succeeds();
    assert!(desk.read("bf16/config.json").contains("\"bfloat16\""));
    assert!(size("bf16/model.safetensors") < size(&format!("{BASE}/model.safetensors")) * 6 / 10);
    predict(&desk, &["bf16"]).succeeds();
}

#[test]
fn a_base_in_four_bits_is_trained_on_and_asked() {
    let desk = with_base();
    train(&desk, &["model.base=4bit", "eval.benchmarks=[]"], &[]).succeeds();
    assert!(desk.read(&format!("{ADAPTER}/base_model.json")).contains("\"4bit\""));
    predict(&desk, &["adapted"]).succeeds();
    train(&desk, &["eval.benchmarks=[]", "train.max_steps=5"], &["--resume"])
        .fails(1, &["`model.base` was `4bit` and is now `not set`"]);
    let merged = desk.uner(&["export", "--model", "adapted", "--output", "merged", "--merge"]);
    assert!(merged.succeeds().stderr.contains("trained on a quantised base"), "{}", merged.stderr);
    desk.train(&["run.dir=other", "model.base=4bit"]).fails(2, &["without `[model.adapter]`"]);
}

#[test]
fn a_run_of_an_adapter_goes_on_bitwise_and_only_with_its_adapter() {
    let desk = with_base();
    train(&desk, &["eval.benchmarks=[]"], &[]).succeeds();
    let expected = (
        losses(&desk, "adapted"),
        fs_err::read(desk.path(&format!("{ADAPTER}/adapter_model.safetensors"))).unwrap(),
    );
    fs_err::remove_dir_all(desk.path(ADAPTER)).unwrap();
    desk.write("adapted/latest", "step-000002");

    let other = "model.adapter.rank=3";
    train(&desk, &["eval.benchmarks=[]", other], &["--resume"])
        .fails(1, &["`model.adapter.rank` was `2` and is now `3`", "start a new run"]);
    train(&desk, &["eval.benchmarks=[]"], &["--resume"]).succeeds();
    let again = (
        losses(&desk, "adapted"),
        fs_err::read(desk.path(&format!("{ADAPTER}/adapter_model.safetensors"))).unwrap(),
    );
    assert_eq!(again.0, expected.0);
    assert!(again.1 == expected.1, "the adapter differs");
}

#[test]
fn a_base_that_moved_is_named_and_another_refused() {
    let desk = with_base();
    train(&desk, &["eval.benchmarks=[]"], &[]).succeeds();
    fs_err::rename(desk.path("run"), desk.path("moved")).unwrap();
    predict(&desk, &["adapted"])
        .fails(1, &["run/step-000004`, and there is no such folder", "`--base`"]);
    predict(&desk, &["adapted", "--base", "moved/step-000004"]).succeeds();
    predict(&desk, &["adapted", "--base", "moved/step-000002"])
        .fails(1, &["was not trained on the model in"]);
    predict(&desk, &["moved", "--base", "moved/step-000002"]).fails(1, &["is not an adapter"]);
    let export = [
        "export",
        "--model",
        "adapted",
        "--output",
        "out",
        "--merge",
        "--base",
        "moved/step-000002",
    ];
    desk.uner(&export).fails(1, &["was not trained on the model in"]);
    assert!(!exists(&desk, "out") && !exists(&desk, "out.tmp"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let desk = Desk::new();
    desk.train(&[SETTINGS]).fails(2, &["`model.weights = \"random\"` cannot have an adapter"]);
    desk.train(&["model.adapter={ rank = true }"])
        .fails(2, &["model.adapter.rank", "a whole number"]);
    desk.train(&[&SETTINGS.replace("q_proj", "q_prj")]).fails(2, &["q_prj"]);
    desk.train(&[&SETTINGS.replace("rank = 2", "rank = 0")])
        .fails(2, &["`model.adapter.rank` is 0"]);
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let export = |more: &[&str]| {
        desk.uner(&[&["export", "--model", "run", "--output", "run"][..], more].concat())
    };
    export(&[]).fails(1, &["`run` exists"]);
    export(&["--merge"]).fails(1, &["is not an adapter, so there is nothing to merge"]);
    assert_eq!(export(&["--dtype", "int4"]).code, Some(2));
    assert_eq!(export(&["--max-shard-size", "5GiB"]).code, Some(2));
    train(&desk, &["eval.benchmarks=[]"], &[]).succeeds();
    let weights = format!("model.weights={ADAPTER}");
    train(&desk, &["run.dir=third", &weights], &[])
        .fails(2, &["holds an adapter", "uner export --merge"]);
}

/// A resumed adapter cannot change the special tokens in the files of its base.
#[test]
fn an_adapter_is_resumed_whatever_special_tokens_its_base_names() {
    let desk = with_base();
    desk.uner(&["export", "--model", "run", "--output", "base"]).succeeds();
    fs_err::remove_file(desk.path("base/SHA256SUMS")).unwrap();
    let config: Value = serde_json::from_str(&desk.read("base/config.json")).unwrap();
    let sets = ["eval.benchmarks=[]", "model.weights=base", "model.tokenizer=base/tokenizer.json"];
    for (name, value) in [
        ("pad_token_id", Value::Null),
        ("bos_token_id", Value::Null),
        ("eos_token_id", serde_json::json!([2, 5])),
        ("eos_token_id", 7.into()),
    ] {
        let mut changed = config.clone();
        changed[name] = value.clone();
        desk.write("base/config.json", &changed.to_string());
        let _ = fs_err::remove_dir_all(desk.path("adapted"));
        train(&desk, &sets, &[]).succeeds();
        fs_err::remove_dir_all(desk.path(ADAPTER)).unwrap();
        let resumed = train(&desk, &sets, &["--resume"]);
        assert!(
            resumed.succeeds().stderr.contains("resuming after step 2"),
            "{name} {value}: {}",
            resumed.stderr
        );
    }
    let mut outside = config.clone();
    outside["eos_token_id"] = serde_json::json!([2, 99999]);
    desk.write("base/config.json", &outside.to_string());
    predict(&desk, &["base"])
        .fails(1, &["`eos_token_id` 99999 is outside the embedding, which has 512 rows"]);
}

/// An adapter finds its base when the whole project is moved.
#[test]
fn an_adapter_finds_its_base_in_a_moved_project() {
    let desk = with_base();
    train(&desk, &["eval.benchmarks=[]"], &[]).succeeds();
    let expected = predict(&desk, &["adapted"]).succeeds().stdout.clone();
    fs_err::create_dir_all(desk.path("new/place")).unwrap();
    for name in ["run", "adapted"] {
        fs_err::rename(desk.path(name), desk.path(&format!("new/place/{name}"))).unwrap();
    }
    assert_eq!(predict(&desk, &["new/place/adapted"]).succeeds().stdout, expected);
    // Another model at that path is not mistaken for it.
    let weights = desk.path(&format!("new/place/{BASE}/model.safetensors"));
    let mut bytes = fs_err::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes.truncate(last - 3);
    fs_err::write(&weights, bytes).unwrap();
    predict(&desk, &["new/place/adapted"]).fails(1, &["there is no such folder", "`--base`"]);
}

#[test]
fn a_merged_weight_that_overflows_is_not_written() {
    let desk = with_base();
    train(&desk, &["eval.benchmarks=[]"], &[]).succeeds();
    desk.uner(&["export", "--model", "adapted", "--output", "adapter"]).succeeds();
    let factors = desk.path("adapter/adapter_model.safetensors");
    let mut bytes = fs_err::read(&factors).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for value in bytes[header..].chunks_exact_mut(4) {
        value.copy_from_slice(&1e30_f32.to_le_bytes());
    }
    fs_err::write(&factors, bytes).unwrap();
    fs_err::remove_file(desk.path("adapter/SHA256SUMS")).unwrap();
    desk.uner(&["export", "--model", "adapter", "--merge", "--output", "merged"])
        .fails(1, &["model.layers.0.", "with its adapter is not finite"]);
    assert!(!exists(&desk, "merged"));
}
