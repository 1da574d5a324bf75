//! Whole runs: output, files on disk, and refusals afterwards.

use serde_json::Value;

use crate::{DURING, Desk, Outcome};

const CHECKPOINT: &str = "run/step-000004";

#[test]
fn a_run_from_recipe_to_prediction() {
    let desk = Desk::new();
    let outcome = desk.train(&[]);
    outcome.succeeds();
    for part in ["strict F1 unseen", "The corpus is synthetic", "uner predict --model run --text '"]
    {
        assert!(outcome.stdout.contains(part), "`{part}` is not in {}", outcome.stdout);
    }
    for file in [
        "recipe.toml",
        "plan.toml",
        "metrics.jsonl",
        "latest",
        "report.md",
        "report.json",
        "evaluation.json",
        "predictions/demo-test.jsonl",
        "step-000002/state.json",
        "step-000002/plan.toml",
    ] {
        assert!(desk.path("run").join(file).is_file(), "run/{file}");
    }
    let measured = desk.read("run/metrics.jsonl").lines().last().map(str::to_owned).unwrap();
    assert!(measured.contains("\"measured\"") && measured.contains("demo strict F1"), "{measured}");
    let steps = desk
        .read("run/metrics.jsonl")
        .lines()
        .filter(|line| line.contains("\"step\",\"step\":"))
        .count();
    assert_eq!(steps, 4);

    // The checkpoint suffices: the rest of the run is not needed.
    let alone = desk.path("alone");
    fs_err::rename(desk.path(CHECKPOINT), &alone).unwrap();
    fs_err::remove_dir_all(desk.path("run")).unwrap();
    predict(&desk).succeeds();
    let long = "a ".repeat(600);
    let ask = ["predict", "--model", "alone", "--text", &long, "--types", "person"];
    desk.uner(&ask).succeeds();
    let outcome = desk.uner(&[&ask[..], &["--raw"]].concat());
    outcome.fails(1, &["the prompt for `person` has ", "split the text, which starts with `a a a"]);
    let report =
        desk.uner(&["eval", "--model", "alone", "--benchmark", "demo:validation", "--limit", "2"]);
    assert!(report.succeeds().stdout.contains("demo by entity type"), "{}", report.stdout);
    let json: Value =
        serde_json::from_str(&desk.read("alone/eval/demo-validation-first-2/report.json")).unwrap();
    assert_eq!(json["outcomes"][0]["num_examples"], 2);
    assert_eq!(json["outcomes"][0]["is_part"], true);
    assert_eq!(
        json["outcomes"][0]["per_type"].as_object().unwrap().len(),
        7,
        "every type is asked"
    );
    let predictions =
        desk.read("alone/eval/demo-validation-first-2/predictions/demo-validation.jsonl");
    let lines: Vec<Value> =
        predictions.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!((&line["dataset"], &line["split"]), (&"demo".into(), &"validation".into()));
        let answers = line["answers"].as_array().unwrap();
        assert!(
            answers.len() == 7 && answers.iter().all(|answer| answer["raw"].is_string()),
            "{answers:?}"
        );
    }
    scores_follow_from_answers(&desk, &predictions);
}

/// Scores are computed from the answers again, and an evaluation that was cut off goes on.
fn scores_follow_from_answers(desk: &Desk, predictions: &str) {
    let folder = "alone/eval/demo-validation-first-2";
    let before = desk.read(&format!("{folder}/report.json"));
    fs_err::remove_file(desk.path(folder).join("report.json")).unwrap();
    desk.uner(&["score", "--evaluation", folder]).succeeds();
    assert_eq!(desk.read(&format!("{folder}/report.json")), before);
    let file = desk.path(folder).join("predictions/demo-validation.jsonl");
    fs_err::write(&file, &predictions[..predictions.len() - 5]).unwrap();
    let eval = ["eval", "--model", "alone", "--benchmark", "demo:validation", "--limit"];
    desk.uner(&[&eval[..], &["2", "--resume"]].concat()).succeeds();
    assert_eq!(desk.read(&format!("{folder}/report.json")), before);
    assert_eq!(fs_err::read_to_string(&file).unwrap(), predictions);
    let compared = desk.uner(&["compare", folder, folder]);
    assert!(compared.succeeds().stdout.contains("demo (validation)"), "{}", compared.stdout);
    desk.uner(&["compare", folder, "run"]).fails(1, &["evaluation.json"]);
    let other = [&eval[..], &["3", "--resume", "--output", folder]].concat();
    desk.uner(&other).fails(1, &["another number of examples"]);
}

#[test]
fn what_cannot_be_scored_or_says_nothing_is_told() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let eval = |benchmark: &str| {
        desk.uner(&["eval", "--model", "run", "--benchmark", benchmark, "--limit", "1"])
    };
    let trained = eval("demo:train");
    assert!(
        trained.succeeds().stderr.contains("`demo:train` says nothing about other text"),
        "{}",
        trained.stderr
    );
    assert!(!eval("demo:validation").succeeds().stderr.contains("says nothing"));
    let missing = eval("mit-restaurant");
    missing.fails(1, &["no benchmark was scored"]);
    assert!(missing.stderr.contains("mit-restaurant"), "{}", missing.stderr);
    let written = |name: &str| desk.path(&format!("run/eval/{name}/report.md")).exists();
    assert!(written("demo-train-first-1") && written("demo-validation-first-1"));
    assert!(!written("mit-restaurant-test-first-1"));

    let predict = |types: &[&str]| {
        desk.uner(&[&["predict", "--model", "run", "--text", "Tim lives in Rome."], types].concat())
    };
    predict(&["--types", ""]).fails(1, &["an entity type is empty"]);
    predict(&["--types", "person,,city"]).fails(1, &["an entity type is empty"]);
    let twice = predict(&["--types", "person,person", "--type", "city, or town", "--raw"]);
    assert!(twice.succeeds().stderr.contains("`person` is named twice"), "{}", twice.stderr);
    let found: Value = serde_json::from_str(&twice.stdout).unwrap();
    let raw: Vec<&String> = found["raw"].as_object().unwrap().keys().collect();
    assert_eq!(raw, ["person", "city, or town"]);
}

fn predict(desk: &Desk) -> Outcome {
    let outcome = desk.uner(&[
        "predict",
        "--model",
        "alone",
        "--text",
        "Tim lives in Rome.",
        "--types",
        "person,city",
    ]);
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(json["text"], "Tim lives in Rome.");
    assert!(json["entities"].is_array());
    outcome
}

#[test]
fn a_folder_with_a_run_is_refused_and_resumed() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    desk.train(&["eval.benchmarks=[]"]).fails(2, &["`run` already contains a run", "--resume"]);
    let whole = fs_err::read(desk.path("run/step-000004/model.safetensors")).unwrap();
    let metrics = losses(&desk.read("run/metrics.jsonl"));

    fs_err::remove_dir_all(desk.path(CHECKPOINT)).unwrap();
    desk.write("run/latest", "step-000002");
    let resumed =
        desk.uner(&["train", "--recipe", "tiny", "--set", "eval.benchmarks=[]", "--resume"]);
    assert!(resumed.succeeds().stderr.contains("resuming after step 2"), "{}", resumed.stderr);
    assert!(
        whole == fs_err::read(desk.path("run/step-000004/model.safetensors")).unwrap(),
        "the weights differ"
    );
    assert_eq!(losses(&desk.read("run/metrics.jsonl")), metrics);

    let recipe = desk.read("run/recipe.toml");
    let go_on = |from: &str, to: &str, more: &[&str]| {
        desk.write("other.toml", &recipe.replace(from, to));
        desk.uner(&[&["train", "--recipe", "other.toml", "--resume"], more].concat())
    };
    desk.write(
        "long.toml",
        &crate::MODEL.replace("max_position_embeddings = 512", "max_position_embeddings = 1024"),
    );
    let [is, becomes] = ["model.toml", "long.toml"]
        .map(|name| format!("config = \"{}\"", desk.path(name).display()));
    let config = (is.as_str(), becomes.as_str());
    let parts = ["the model's `max_position_embeddings` was `512` and is now `1024`"];
    go_on(config.0, config.1, &[]).fails(1, &parts);
    go_on(config.0, config.1, &["--set", "model.config=long.toml"]).fails(1, &parts);
    let passages = ("long_passages = \"error\"", "long_passages = \"drop\"");
    go_on(passages.0, passages.1, &[])
        .fails(1, &["`data.long_passages` was `error` and is now `drop`", "set it back"]);
    let again = go_on(passages.0, passages.1, &["--set", "data.long_passages=drop"]);
    assert!(again.succeeds().stderr.contains("`data.long_passages` was"), "{}", again.stderr);
    desk.write("run/recipe.toml", &recipe);
    let other = desk.uner(&["train", "--recipe", "tiny", "--set", "train.lr=2e-3", "--resume"]);
    other.fails(1, &["`train.lr` was `0.001` and is now `0.002`"]);
    assert_eq!(desk.read("run/recipe.toml"), recipe, "a refused run leaves the folder as it was");
}

/// A recipe named by another path, or moved with its whole project, is the same recipe.
#[test]
fn paths_that_lead_to_the_same_place_are_the_same() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let resume = |recipe: &str, sets: &[&str]| {
        let all = [&["train", "--recipe", recipe, "--set", "eval.benchmarks=[]", "--resume"], sets]
            .concat();
        desk.uner(&all)
    };
    resume("./tiny.toml", &[]).succeeds();
    resume("run/../tiny.toml", &[]).succeeds();
    fs_err::create_dir(desk.path("moved")).unwrap();
    for name in ["run", "tiny.toml", "model.toml"] {
        fs_err::rename(desk.path(name), desk.path(&format!("moved/{name}"))).unwrap();
    }
    resume("moved/tiny.toml", &[]).succeeds();
    fs_err::copy(desk.path("moved/model.toml"), desk.path("moved/model2.toml")).unwrap();
    let text = desk.read("moved/tiny.toml").replace("model.toml", "model2.toml");
    desk.write("moved/tiny.toml", &text);
    resume("moved/tiny.toml", &[]).fails(1, &["`model.config` was", "set it back, or confirm it"]);
    resume("moved/tiny.toml", &["--set", "model.config=moved/model2.toml"]).succeeds();
}

/// The loss of every step, in the order of the file.
fn losses(metrics: &str) -> Vec<(u64, String)> {
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps = lines.filter(|line| line["event"] == "step");
    steps.map(|line| (line["step"].as_u64().unwrap(), line["loss"].to_string())).collect()
}

#[test]
fn there_must_be_something_to_resume() {
    let desk = Desk::new();
    let outcome = desk.uner(&["train", "--recipe", "tiny", "--resume"]);
    outcome.fails(2, &["`run` holds no checkpoint to resume from"]);
}

#[test]
fn a_torn_checkpoint_is_refused() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let weights = desk.path(CHECKPOINT).join("model.safetensors");
    let bytes = fs_err::read(&weights).unwrap();
    fs_err::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let resume =
        ["train", "--recipe", "tiny", "--set", "eval.benchmarks=[]", "--resume", CHECKPOINT];
    let parts = ["step-000004", "`model.safetensors` is damaged", "use an earlier one"];
    desk.uner(&resume).fails(1, &parts);
    let asked = desk.uner(&["predict", "--model", "run", "--text", "a", "--types", "b"]);
    assert!(asked.succeeds().stderr.contains("using `run/step-000002`"), "{}", asked.stderr);

    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs_err::write(&weights, flipped).unwrap();
    desk.uner(&resume).fails(1, &parts);

    // Without a path, the earlier one is used.
    let resumed = desk.uner(&resume[..resume.len() - 1]);
    assert!(resumed.succeeds().stderr.contains("using `run/step-000002`"), "{}", resumed.stderr);
}

#[test]
fn micro_batches_are_chosen_once_and_kept_by_a_resumed_run() {
    let desk = Desk::new();
    let rows = |step: &str| {
        let plan: toml::Table = desk.read(&format!("run/{step}/plan.toml")).parse().unwrap();
        plan["layout"]["micro_batch_rows"].as_integer().unwrap()
    };
    desk.train(&["eval.benchmarks=[]", "train.micro_batch_rows=1"]).succeeds();
    assert_eq!(rows("step-000002"), 1);
    fs_err::remove_dir_all(desk.path(CHECKPOINT)).unwrap();
    desk.write("run/latest", "step-000002");
    let auto = ["--set", "eval.benchmarks=[]", "--set", "train.micro_batch_rows=auto"];
    desk.uner(&[&["train", "--recipe", "tiny", "--resume"], &auto[..]].concat()).succeeds();
    assert_eq!(rows("step-000004"), 1);
    assert!(desk.read("run/recipe.toml").contains("micro_batch_rows = \"auto\""));

    // A new run has enough memory for the whole step in one micro-batch.
    fs_err::remove_dir_all(desk.path("run")).unwrap();
    desk.uner(&[&["train", "--recipe", "tiny"], &auto[..]].concat()).succeeds();
    assert_eq!(rows("step-000004"), 2);
}

#[test]
fn a_checkpoint_without_a_plan_is_not_resumed() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let manifest = format!("{CHECKPOINT}/manifest.json");
    let mut files: Value = serde_json::from_str(&desk.read(&manifest)).unwrap();
    files.as_object_mut().unwrap().remove("plan.toml").unwrap();
    desk.write(&manifest, &files.to_string());
    fs_err::remove_file(desk.path(&format!("{CHECKPOINT}/plan.toml"))).unwrap();
    desk.uner(&["train", "--recipe", "tiny", "--resume"])
        .fails(1, &["has no `plan.toml`", "an earlier version", "start a new run"]);
}

#[test]
fn a_plan_that_does_not_fit_is_refused_with_what_would() {
    let desk = Desk::new();
    let limited = |gib: &str, more: &[&str]| {
        let limit = format!("run.memory.limit_gib={gib}");
        desk.uner(&[&["train", "--recipe", "tiny", "--set", &limit], more].concat())
    };
    let parts = [
        "even in its smallest layout",
        "the cheapest change that makes it fit: `train.micro_batch_rows` = 1",
    ];
    limited("0.00354", &[]).fails(1, &parts);
    limited("0.00354", &["--dry-run"]).fails(1, &parts);
    limited("0.00354", &["--dry-run", "--set", "train.micro_batch_rows=auto"]).succeeds();
    limited("0.0001", &[]).fails(1, &["no single change makes it fit"]);
    assert!(!desk.path("run/step-000002").exists());
}

#[test]
fn a_dry_run_writes_nothing() {
    let desk = Desk::new();
    let outcome = desk.uner(&["train", "--recipe", "tiny", "--dry-run"]);
    for part in [
        "40 conversations",
        "4 (10 an epoch",
        "4 conversations, about",
        "activations of 0 of 2 blocks recomputed",
    ] {
        assert!(outcome.succeeds().stdout.contains(part), "`{part}` is not in {}", outcome.stdout);
    }
    assert!(!desk.path("run").exists());
}

#[test]
fn a_dry_run_says_what_is_measured_in_training() {
    let desk = Desk::new();
    desk.write("tiny.toml", &format!("{}{DURING}", desk.read("tiny.toml")));
    let sets = ["--set", "train.best.patience=3"];
    let plan = desk.uner(&[&["train", "--recipe", "tiny", "--dry-run"][..], &sets].concat());
    let line = "in training F1 every 2 steps and after the last (2 times) on demo (validation, the first 1 examples); the best \
                checkpoint is kept, and the run stops when 3 measurements in a row were not better\n";
    assert!(plan.succeeds().stdout.contains(line), "{}", plan.stdout);
    let plan = Desk::new().uner(&["train", "--recipe", "tiny", "--dry-run"]);
    assert!(!plan.succeeds().stdout.contains("in training"), "{}", plan.stdout);
}

#[test]
fn a_dry_run_says_what_is_missing_and_how_to_get_it() {
    let desk = Desk::new();
    let strict = desk.uner(&["train", "--recipe", "zero-shot", "--dry-run", "--strict"]);
    assert_eq!(strict.code, Some(3), "{}", strict.stderr);
    desk.uner(&["train", "--recipe", "tiny", "--dry-run", "--strict"]).succeeds();
    let outcome = desk.uner(&["train", "--recipe", "zero-shot", "--dry-run"]);
    for part in [
        "6,738,415,616 parameters",
        "45,889 conversations expected",
        "537 (179 an epoch, 22 of warm-up)",
        "models/llama-7b-hf",
        "https://huggingface.co/yahma/llama-7b-hf",
        "pile-ner-type/train.json",
        "CC BY-NC 4.0",
    ] {
        assert!(outcome.succeeds().stdout.contains(part), "`{part}` is not in {}", outcome.stdout);
    }
    let outcome = desk.uner(&["train", "--recipe", "zero-shot"]);
    outcome.fails(
        1,
        &["models/llama-7b-hf` does not exist", "pile-ner-type/train.json` does not exist"],
    );
}

#[test]
fn the_mask_is_shown_in_brackets_where_there_is_no_colour() {
    let desk = Desk::new();
    let outcome = desk.uner(&["train", "--recipe", "tiny", "--show-mask", "2"]);
    let shown = &outcome.succeeds().stdout;
    assert_eq!(shown.matches("tokens, ").count(), 2, "{shown}");
    // Only answers are trained on, with the token that ends them.
    let trained: Vec<&str> =
        shown.split('⟦').skip(1).map(|rest| rest.split('⟧').next().unwrap()).collect();
    assert!(!trained.is_empty());
    for answer in trained {
        assert!(answer.starts_with(" [") && answer.ends_with("]⏎"), "{answer}");
    }
    // In the template's format.
    assert!(shown.contains(" ASSISTANT: I've read this text.⏎USER: What describes "), "{shown}");
    assert!(!desk.path("run").exists());
}
