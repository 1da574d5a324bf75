//! Excessive or malicious input: a quick error that names it, and no output that a terminal would
//! obey.

use std::fmt::Write as _;

use crate::Desk;

/// An exported model without checksums, as other programs write one.
fn exported() -> Desk {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    desk.uner(&["export", "--model", "run", "--output", "model"]).succeeds();
    fs_err::remove_file(desk.path("model/SHA256SUMS")).unwrap();
    desk
}

fn predict(desk: &Desk, model: &str) -> crate::Outcome {
    desk.uner(&[
        "predict",
        "--model",
        model,
        "--text",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
        "--types",
        "b",
    ])
}

#[test]
fn sizes_without_measure_are_refused_with_their_value() {
    let desk = Desk::new();
    let dry = |set: &str| desk.uner(&["train", "--recipe", "tiny", "--dry-run", "--set", set]);
    dry("train.micro_batch_rows=1000000000").fails(1, &["train.micro_batch_rows"]);
    dry(r#"data.train=[{dataset="demo",split="train",weight=1e9}]"#)
        .fails(1, &["1000000000", "10000"]);
    // Queries are limited to the existing types.
    dry("data.negatives.ratio=1e18").succeeds();
    dry("data.negatives.ratio=1e308").succeeds();
    desk.train(&["train.checkpoint={minutes=1e300}"])
        .fails(2, &["train.checkpoint.minutes", "at most 5e8"]);
    dry("run.device=cuda:0-99999999999").fails(2, &["99999999999"]);
    let deep = crate::MODEL.lines().map(|line| match line.split_once(" = ") {
        Some(("num_hidden_layers", _)) => "num_hidden_layers = 1000000".to_owned(),
        _ => line.to_owned(),
    });
    desk.write("model.toml", &deep.collect::<Vec<_>>().join("\n"));
    dry("run.seed=1").fails(2, &["num_hidden_layers", "1000000"]);

    let description = "name = \"x\"\ntypes = {PER = \"person\"}\nformat = {kind = \"columns\", separator = \"\\t\", token = 0, \
                       tags = [18446744073709551615], scheme = \"bio\"}\nsplits = {train = \"x.tsv\"}\n";
    desk.write("x.toml", description);
    desk.write("x.tsv", "Ann\tB-PER\n");
    desk.uner(&["data", "stats", "x.toml", "--root", "."])
        .fails(1, &["x.tsv:1", "18446744073709551615"]);
}

#[test]
fn a_configuration_without_measure_is_compared_with_the_files() {
    let desk = exported();
    let config = desk.read("model/config.json");
    for (key, value, said) in [
        ("num_hidden_layers", "1000000", "num_hidden_layers"),
        ("num_hidden_layers", "9999", "missing"),
        ("vocab_size", "16000000", "expected [16000000, "),
        ("intermediate_size", "16000000", "expected [16000000, "),
        ("rope_theta", "-1.0", "rope_theta"),
        ("rms_norm_eps", "-1.0", "rms_norm_eps"),
    ] {
        let mut changed: serde_json::Value = serde_json::from_str(&config).unwrap();
        changed[key] = serde_json::from_str(value).unwrap();
        desk.write("model/config.json", &changed.to_string());
        predict(&desk, "model").fails(1, &[said]);
    }
}

#[test]
fn numbers_that_are_none_are_named_with_their_tensor() {
    let desk = exported();
    let path = desk.path("model/model.safetensors");
    let bytes = fs_err::read(&path).unwrap();
    let body = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for poison in [f32::NAN, f32::INFINITY] {
        let mut poisoned = bytes.clone();
        let place = body + (poisoned.len() - body) / 2 / 4 * 4;
        poisoned[place..place + 4].copy_from_slice(&poison.to_le_bytes());
        fs_err::write(&path, poisoned).unwrap();
        predict(&desk, "model").fails(1, &["`model.layers.", "infinite or NaN"]);
    }
}

#[test]
fn a_regular_expression_that_explodes_is_an_error() {
    let desk = exported();
    let mut tokenizer: serde_json::Value =
        serde_json::from_str(&desk.read("model/tokenizer.json")).unwrap();
    tokenizer["pre_tokenizer"] = serde_json::json!({"type": "Split", "pattern": {"Regex": "(a+)+$|(?:a|aa)+b"}, "behavior": "Isolated", "invert": false});
    desk.write("model/tokenizer.json", &tokenizer.to_string());
    let outcome = predict(&desk, "model");
    outcome.fails(1, &["cannot be tokenised", "retry-limit"]);
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}

#[cfg(unix)]
#[test]
fn files_out_of_the_folder_are_not_read() {
    let desk = exported();
    desk.write("secret", "{\"eos_token_id\": 7}");
    std::os::unix::fs::symlink("../secret", desk.path("model/generation_config.json")).unwrap();
    predict(&desk, "model").fails(1, &["generation_config.json", "not inside the folder"]);
    let export = desk.uner(&["export", "--model", "model", "--output", "copy"]);
    export.fails(1, &["generation_config.json", "not inside the folder"]);
    assert!(!desk.path("copy").exists());
    fs_err::remove_file(desk.path("model/generation_config.json")).unwrap();

    fs_err::rename(desk.path("model/model.safetensors"), desk.path("elsewhere.safetensors"))
        .unwrap();
    let absolute = desk.path("elsewhere.safetensors");
    for shard in ["../elsewhere.safetensors", absolute.to_str().unwrap()] {
        let index = serde_json::json!({"weight_map": {"model.norm.weight": shard}});
        desk.write("model/model.safetensors.index.json", &index.to_string());
        predict(&desk, "model").fails(1, &[shard, "not inside the folder"]);
    }
}

#[cfg(unix)]
#[test]
fn an_output_that_is_no_file_is_not_replaced() {
    let desk = exported();
    let pipe = desk.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    desk.uner(&["report", "run", "--output", "pipe"]).fails(1, &["`pipe` is not a regular file"]);
    let kept = fs_err::metadata(&pipe).unwrap().file_type();
    assert!(!kept.is_file() && !kept.is_dir());
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_waited_for() {
    let desk = exported();
    let pipe = desk.path("pipe.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    desk.write(
        "e.toml",
        "name = \"e\"\nformat = {kind = \"jsonl\"}\nsplits = {train = \"pipe.jsonl\", test = \"zero\"}\n",
    );
    std::os::unix::fs::symlink("/dev/zero", desk.path("zero")).unwrap();
    for split in ["train", "test"] {
        desk.uner(&["data", "stats", "e.toml", "--root", ".", "--split", split])
            .fails(1, &["not a regular file"]);
    }
    desk.uner(&["score", "--bio", "zero"]).fails(1, &["not a regular file"]);
    desk.uner(&["score", "--bio", "pipe.jsonl"]).fails(1, &["not a regular file"]);
    fs_err::remove_file(desk.path("run/latest")).unwrap();
    std::os::unix::fs::symlink(&pipe, desk.path("run/latest")).unwrap();
    let asked = predict(&desk, "run");
    assert!(
        asked.succeeds().stderr.contains("`run/latest` is not a regular file; using"),
        "{}",
        asked.stderr
    );
    desk.uner(&["train", "--recipe", "zero.toml"]).fails(2, &["zero.toml"]);
    for name in
        ["config.json", "tokenizer.json", "model.safetensors", "template.toml", "infer.toml"]
    {
        let (file, kept) = (desk.path("model").join(name), desk.path("kept"));
        fs_err::rename(&file, &kept).unwrap();
        std::os::unix::fs::symlink(&pipe, &file).unwrap();
        predict(&desk, "model").fails(1, &[name, "not a regular file"]);
        fs_err::remove_file(&file).unwrap();
        fs_err::rename(&kept, &file).unwrap();
    }
}

#[test]
fn control_characters_are_shown_as_escapes() {
    let desk = Desk::new();
    let evil = "\u{1b}]0;OWNED\u{7}";
    let mut lines = String::new();
    for _ in 0..2 {
        let entity = serde_json::json!({"start": 0, "end": 3, "label": format!("person{evil}")});
        let line = serde_json::json!({"text": format!("Ann{evil}"), "entities": [entity]});
        writeln!(lines, "{line}").unwrap();
    }
    desk.write("e.jsonl", &lines);
    desk.write(
        "e.toml",
        "name = \"e\"\nformat = {kind = \"jsonl\"}\nsplits = {train = \"e.jsonl\", test = \"e.jsonl\"}\n",
    );
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let named = format!("no{evil}");
    let shown = [
        desk.uner(&["data", "stats", "e.toml", "--root", "."]),
        desk.uner(&["data", "validate", "e.toml", "--root", "."]),
        desk.uner(&["eval", "--model", "run", "--benchmark", "e.toml:test", "--root", "."]),
        desk.uner(&[
            "train",
            "--recipe",
            "tiny",
            "--show-mask",
            "1",
            "--set",
            "data.validation=[]",
            "--set",
            "model.weights=\"run\"",
            "--set",
            r#"data.train=[{dataset="e.toml",split="train"}]"#,
        ]),
        desk.uner(&["predict", "--model", "run", "--text", evil, "--types", "a"]),
        desk.uner(&["predict", "--model", &named, "--text", "a", "--types", "a"]),
        desk.uner(&[
            "predict",
            "--model",
            "run",
            "--text",
            "a",
            "--types",
            "a",
            "--device",
            "\u{9b}31mX",
        ]),
        desk.uner(&["train", "--recipe", &named]),
    ];
    for outcome in shown {
        for text in [&outcome.stdout, &outcome.stderr] {
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{text:?}");
        }
    }
    assert!(!desk.read("run/eval/e-test/report.md").contains('\u{1b}'));
    let stats = desk.uner(&["data", "stats", "e.toml", "--root", "."]);
    assert!(stats.succeeds().stdout.contains("\\u{1b}]0;OWNED\\u{7}"), "{}", stats.stdout);
}

#[cfg(unix)]
#[test]
fn talk_that_nobody_hears_ends_no_run() {
    use std::process::Stdio;
    let desk = Desk::new();
    let sets = ["eval.benchmarks=[]", "train.epochs=3", "train.max_steps=30"];
    // A closed pipe, and a full device.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap().into_parts().0;
    for (name, stderr) in [("pipe", Stdio::from(writer)), ("full", Stdio::from(full))] {
        let dir = format!("run.dir={name}");
        let status =
            desk.trainer(&[&sets[..], &[&dir]].concat(), false).stderr(stderr).status().unwrap();
        assert!(status.success(), "{name}: {status}");
        assert_eq!(desk.read(&format!("{name}/latest")), "step-000030");
    }
}

#[test]
fn a_temporary_folder_that_is_missing_is_named_with_what_to_do() {
    let desk = Desk::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_uner"));
    command.args(["train", "--recipe", "tiny", "--dry-run"]).env("TMPDIR", "/nonexistent");
    desk.run(&mut command).fails(1, &["`/nonexistent`", "TMPDIR"]);
}

#[cfg(unix)]
#[test]
fn a_run_works_in_a_folder_whose_name_is_not_utf_8() {
    use std::os::unix::ffi::OsStrExt as _;

    let desk = Desk::new();
    let folder = desk.0.path().join(std::ffi::OsStr::from_bytes(b"na\xffme 1"));
    fs_err::create_dir(&folder).unwrap();
    for file in ["tiny.toml", "model.toml"] {
        fs_err::copy(desk.path(file), folder.join(file)).unwrap();
    }
    let mut command = desk.trainer(&["train.max_steps=1", "eval.benchmarks=[]"], false);
    let outcome = command.current_dir(&folder).output().unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    assert!(folder.join("run/step-000001/plan.toml").is_file());
}
