//! `uner export --gguf` and `uner import`, as users run them.

use crate::{Desk, Outcome};

fn export(desk: &Desk, more: &[&str]) -> Outcome {
    desk.uner(&[&["export", "--model", "run"][..], more].concat())
}

#[test]
fn a_run_is_exported_to_one_file() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    export(&desk, &["--gguf", "model.gguf", "--dtype", "bf16"]).succeeds();
    let file = fs_err::read(desk.path("model.gguf")).unwrap();
    assert!(file.starts_with(b"GGUF\x03\0\0\0"), "{:?}", &file[..8]);
    assert!(!desk.path("model.gguf.tmp").exists());
    export(&desk, &["--gguf", "model.gguf"])
        .fails(1, &["`model.gguf` exists; name a file that does not"]);
    export(&desk, &["--gguf", "x.gguf", "--merge"]).fails(1, &["is not an adapter"]);
    assert_eq!(export(&desk, &["--gguf", "x.gguf", "--output", "x"]).code, Some(2));
    assert_eq!(export(&desk, &[]).code, Some(2));
}

#[test]
fn a_file_is_imported_and_trained() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    export(&desk, &["--gguf", "model.gguf"]).succeeds();
    let import = ["import", "model.gguf", "--output", "imported"];
    let outcome = desk.uner(&import);
    assert!(
        outcome.succeeds().stderr.contains("licence not named; tensors: "),
        "{}",
        outcome.stderr
    );
    for name in ["config.json", "model.safetensors", "tokenizer.model", "SHA256SUMS"] {
        assert!(desk.path("imported").join(name).exists(), "{name}");
    }
    desk.uner(&import).fails(1, &["`imported` exists; name a folder that does not"]);
    desk.uner(&["import", "run/latest", "--output", "x"])
        .fails(1, &["`run/latest`", "it is not a complete GGUF file"]);
    assert!(!desk.path("x").exists() && !desk.path("x.tmp").exists());
    desk.train(&[
        "model.weights=imported",
        "model.tokenizer=imported/tokenizer.model",
        "run.dir=again",
        "eval.benchmarks=[]",
    ])
    .succeeds();
}

#[test]
fn an_adapter_has_to_be_merged() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let sets = [
        "model.weights=run/step-000004",
        "model.tokenizer=run/step-000004/tokenizer.json",
        "run.dir=adapted",
        "eval.benchmarks=[]",
        "model.adapter={ rank = 2, alpha = 4, dropout = 0.0, target_modules = [\"q_proj\"] }",
    ];
    desk.train(&sets).succeeds();
    let export = |more: &[&str]| {
        desk.uner(&[&["export", "--model", "adapted", "--gguf", "x.gguf"][..], more].concat())
    };
    export(&[]).fails(1, &["is an adapter, and a GGUF file holds a whole model; add `--merge`"]);
    export(&["--merge"]).succeeds();
    assert!(desk.path("x.gguf").is_file());
}
