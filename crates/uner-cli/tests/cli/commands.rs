//! Commands without a run.

use std::process::Command;

use serde_json::{Value, json};

use crate::{Desk, fixture};

/// Arguments of `data encode` with the fixture's tokenizer.
fn encode(desk: &Desk, more: &[&str]) -> crate::Outcome {
    let tokenizer = fixture("llama/masks/tokenizer.json");
    let args = [
        "data",
        "encode",
        "--tokenizer",
        tokenizer.to_str().unwrap(),
        "--input",
        "in.jsonl",
        "--output",
        "out.jsonl",
    ];
    desk.uner(&args.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
}

fn conversation(queries: usize) -> String {
    let mut turns = vec![
        json!({"from": "human", "value": "Text: Tim Cook runs Apple ."}),
        json!({"from": "gpt", "value": "I've read this text."}),
    ];
    for query in 0..queries {
        turns.push(
            json!({"from": "human", "value": format!("What describes thing {query} in the text?")}),
        );
        turns.push(json!({"from": "gpt", "value": "[\"Tim Cook\"]"}));
    }
    json!({"id": "ner_0", "conversations": turns}).to_string()
}

fn lines(desk: &Desk) -> Vec<(Vec<i64>, Vec<i64>)> {
    let text = desk.read("out.jsonl");
    let parsed = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let numbers =
        |value: &Value| value.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
    parsed.map(|line| (numbers(&line["ids"]), numbers(&line["labels"]))).collect()
}

#[test]
fn encoding_keeps_the_order_and_labels_only_what_is_trained_on() {
    let desk = Desk::new();
    // More than one chunk. The conversations differ in length.
    let input: Vec<String> = (0..2_100).map(|index| conversation(1 + index % 3)).collect();
    desk.write("in.jsonl", &input.join("\n"));
    encode(&desk, &["--template", "zero-shot"]).succeeds();
    let found = lines(&desk);
    assert_eq!(found.len(), 2_100);
    for (index, (ids, labels)) in found.iter().enumerate() {
        assert_eq!(ids, &found[index % 3].0);
        assert_eq!(ids.len(), labels.len());
        let trained = labels.iter().zip(ids).filter(|(label, _)| **label != -100);
        assert!(trained.clone().count() > 0 && trained.clone().all(|(label, id)| label == id));
    }
    assert!(found[0].0.len() < found[1].0.len() && found[1].0.len() < found[2].0.len());
}

#[test]
fn the_limit_drops_whole_queries_and_officially_cuts_anywhere() {
    let desk = Desk::new();
    desk.write("in.jsonl", &conversation(3));
    encode(&desk, &["--template", "zero-shot"]).succeeds();
    let whole = lines(&desk)[0].0.clone();
    let limit = whole.len() - 1;
    let outcome = encode(&desk, &["--template", "zero-shot", "--max-seq-len", &limit.to_string()]);
    assert!(outcome.succeeds().stderr.contains("1 queries did not fit"), "{}", outcome.stderr);
    assert!(lines(&desk)[0].0.len() < limit && whole.starts_with(&lines(&desk)[0].0));
    encode(&desk, &["--template", "official", "--official"]).succeeds();
    let official = lines(&desk)[0].0.clone();
    encode(&desk, &["--template", "official", "--official", "--max-seq-len", "50"]).succeeds();
    assert_eq!(lines(&desk)[0].0, official[..50]);
}

#[test]
fn the_prompt_of_inference_is_the_start_of_the_training_conversation() {
    let desk = Desk::new();
    desk.write("in.jsonl", &conversation(1));
    encode(&desk, &["--template", "zero-shot"]).succeeds();
    let (ids, labels) = lines(&desk).remove(0);
    encode(&desk, &["--template", "zero-shot", "--inference"]).succeeds();
    let (prompt, nothing) = lines(&desk).remove(0);
    let first_trained = labels.iter().position(|label| *label != -100).unwrap();
    assert_eq!(prompt, ids[..first_trained]);
    assert!(nothing.iter().all(|label| *label == -100));
}

#[test]
fn what_cannot_be_encoded_leaves_no_output() {
    let desk = Desk::new();
    let wrong = json!({"conversations": [{"from": "gpt", "value": "Hello"}]});
    for (line, part) in [
        (wrong.to_string(), "starts with the assistant"),
        ("{\"conversations\": [".to_owned(), "not `{\"conversations\""),
        (json!({"conversations": [{"from": "system", "value": ""}]}).to_string(), "`system`"),
        (json!({"conversations": []}).to_string(), "no messages"),
    ] {
        desk.write("in.jsonl", &format!("{}\n{line}\n", conversation(1)));
        encode(&desk, &["--template", "zero-shot"]).fails(1, &["in.jsonl:2: ", part]);
        assert!(!desk.path("out.jsonl").exists() && !desk.path("out.jsonl.tmp").exists());
    }
    desk.write("in.jsonl", &conversation(1));
    encode(&desk, &["--template", "zero-shot", "--max-seq-len", "10"])
        .fails(1, &["in.jsonl:1: ", "max_seq_len `10`"]);
    encode(&desk, &["--template", "zero-sho"]).fails(1, &["did you mean `zero-shot`?"]);
    fs_err::remove_file(desk.path("in.jsonl")).unwrap();
    encode(&desk, &["--template", "zero-shot"]).fails(1, &["in.jsonl"]);
}

#[test]
fn scores_of_queries() {
    let desk = Desk::new();
    let item = |gold: &str| {
        let turns = [
            "Text: Tim Cook runs Apple .",
            "I've read this text.",
            "What describes person in the text?",
            gold,
        ];
        let sides = ["human", "gpt", "human", "gpt"];
        let turns: Vec<Value> = sides
            .iter()
            .zip(turns)
            .map(|(from, value)| json!({"from": from, "value": value}))
            .collect();
        json!({"id": "a_0", "conversations": turns})
    };
    desk.write("gold.json", &json!([item("[\"Tim Cook\"]")]).to_string());
    desk.write("predictions.jsonl", "{\"output\": \"[\\\"tim cook\\\", \\\"Apple\\\"]\"}\n");
    let args = ["score", "--gold", "gold.json", "--predictions", "predictions.jsonl"];
    let json: Value = serde_json::from_str(&desk.uner(&args).succeeds().stdout).unwrap();
    assert_eq!(json["official"]["recall"].as_f64().map(f64::round), Some(1.0), "{json}");
    assert_eq!(json["strict"]["recall"], 0.0, "`tim cook` is not a span of the text");
    desk.write("predictions.jsonl", "{\"output\": \"[]\"}\nnonsense\n");
    desk.uner(&args).fails(1, &["predictions.jsonl`:2"]);
}

#[test]
fn scores_of_tags() {
    let desk = Desk::new();
    desk.write("tags.jsonl", "{\"gold\": [\"B-PER\", \"I-PER\"], \"pred\": [\"B-PER\", \"O\"]}\n");
    let json: Value =
        serde_json::from_str(&desk.uner(&["score", "--bio", "tags.jsonl"]).succeeds().stdout)
            .unwrap();
    assert_eq!((&json["strict"]["f1"], &json["partial"]["f1"]), (&json!(0.0), &json!(0.5)));
}

#[test]
fn statistics_of_a_split() {
    let desk = Desk::new();
    let outcome = desk.uner(&["data", "stats", "demo", "--split", "test"]);
    assert!(outcome.succeeds().stdout.contains("person"), "{}", outcome.stdout);
    let json = desk.uner(&["data", "stats", "demo", "--split", "test", "--json"]);
    let json: Value = serde_json::from_str(&json.succeeds().stdout).unwrap();
    assert_eq!((&json["num_examples"], &json["num_types"]), (&json!(400), &json!(7)));
}

#[test]
fn a_model_that_cannot_be_asked() {
    let desk = Desk::new();
    let ask = |model: &str, more: &[&str]| {
        let args = ["predict", "--model", model, "--text", "Tim", "--types", "person"];
        desk.uner(&args.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    ask("nowhere", &[]).fails(1, &["`nowhere` is not a folder"]);
    let model = fixture("llama/models/mha");
    let model = model.to_str().unwrap();
    ask(model, &[]).fails(1, &["no `template.toml`", "--template"]);
}

/// Other programs find the chat template where they look for it. A changed file is reported.
#[test]
fn an_exported_model_says_how_it_is_asked_and_what_it_consists_of() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    desk.uner(&["export", "--model", "run", "--output", "model"]).succeeds();
    let jinja = desk.read("model/chat_template.jinja");
    let config: serde_json::Value =
        serde_json::from_str(&desk.read("model/tokenizer_config.json")).unwrap();
    assert_eq!(config["chat_template"], jinja);
    assert!(desk.read("model/PROMPT.md").contains("What describes {type} in the text?"));
    for file in
        ["config.json", "model.safetensors", "chat_template.jinja", "template.toml", "PROMPT.md"]
    {
        assert!(desk.read("model/SHA256SUMS").contains(&format!("  {file}\n")), "{file}");
    }
    assert!(desk.uner(&["verify", "model"]).succeeds().stdout.contains("is intact"));
    desk.write("model/PROMPT.md", "other");
    desk.uner(&["verify", "model"]).fails(1, &["`PROMPT.md`", "SHA256SUMS"]);
    desk.uner(&["predict", "--model", "model", "--text", "a", "--types", "b"])
        .fails(1, &["`PROMPT.md`", "remove `SHA256SUMS`"]);
}

/// Shells do not expand `~` after a `=`.
#[test]
fn the_home_folder_may_stand_behind_an_equals_sign() {
    let desk = Desk::new();
    let uner = |args: &[&str]| {
        desk.run(Command::new(env!("CARGO_BIN_EXE_uner")).args(args).env("HOME", desk.path("")))
    };
    uner(&["train", "--recipe=~/tiny.toml", "--set", "eval.benchmarks=[]"]).succeeds();
    uner(&["export", "--model=~/run", "--output=~/out"]).succeeds();
    assert!(desk.path("out/config.json").exists());
    uner(&["report", "~/run", "--output=~/page.html"]).succeeds();
    assert!(desk.path("page.html").exists() && !desk.path("~").exists());
}

/// If no chat template fits, that of the base is removed: its prompts would differ from those of
/// the training.
#[test]
fn an_exported_model_has_no_chat_template_of_another() {
    let desk = Desk::new();
    let template = include_str!("../../../../configs/templates/zero-shot.toml");
    let template = template
        .replace("separator = \" \"", "separator = \"\"")
        .replace("trailing_space_token = false", "trailing_space_token = true");
    desk.write("own.toml", &template);
    desk.train(&["eval.benchmarks=[]", "prompt.template=own.toml"]).succeeds();
    let exported = desk.uner(&["export", "--model", "run", "--output", "one"]);
    assert!(
        exported.succeeds().stderr.contains("no chat template is written"),
        "{}",
        exported.stderr
    );
    let config: serde_json::Value =
        serde_json::from_str(&desk.read("one/tokenizer_config.json")).unwrap();
    let mut with_chat = config.clone();
    with_chat["chat_template"] = "{{ messages }}".into();
    desk.write("one/tokenizer_config.json", &with_chat.to_string());
    desk.write("one/chat_template.jinja", "{{ messages }}");
    fs_err::remove_file(desk.path("one/SHA256SUMS")).unwrap();
    desk.uner(&["export", "--model", "one", "--output", "two"]).succeeds();
    let left: serde_json::Value =
        serde_json::from_str(&desk.read("two/tokenizer_config.json")).unwrap();
    assert_eq!(left, config);
    assert!(!desk.path("two/chat_template.jinja").exists() && !desk.path("two/PROMPT.md").exists());
    desk.uner(&["verify", "two"]).succeeds();
}

/// The model's own chat template, from the tokenizer's folder to the training data and the export.
#[test]
fn a_model_is_asked_by_its_own_chat_template() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    desk.uner(&["export", "--model", "run", "--output", "base"]).succeeds();
    let chat = "{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] + eos_token }}{% endfor %}\
                {% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}";
    desk.write("base/chat_template.jinja", chat);
    fs_err::remove_file(desk.path("base/SHA256SUMS")).unwrap();
    desk.train(&["prompt.template=chat"])
        .fails(2, &["`prompt.template = \"chat\"`", "a tokenizer that the run trains has none"]);
    let recipe = crate::RECIPE
        .replace("weights = \"random\"", "weights = \"base\"")
        .replace("config = \"model.toml\"\n", "")
        .replace("tokenizer = \"train\"\n", "")
        .replace("dir = \"run\"", "dir = \"tuned\"")
        .replace("template = \"zero-shot\"", "template = \"chat\"");
    desk.write("chat.toml", &recipe);
    let shown = desk.uner(&["train", "--recipe", "chat.toml", "--show-mask", "1"]);
    assert!(shown.succeeds().stdout.contains("[assistant] ⟦["), "{}", shown.stdout);
    desk.uner(&["train", "--recipe", "chat.toml"]).succeeds();
    desk.uner(&["export", "--model", "tuned", "--output", "out"]).succeeds();
    assert_eq!(desk.read("out/chat_template.jinja"), chat);
    // Chat templates of models do not contain our system message.
    let system = "System:\n\n```text\nA virtual assistant answers questions";
    assert!(desk.read("out/PROMPT.md").contains(system), "{}", desk.read("out/PROMPT.md"));
    desk.uner(&[
        "data",
        "encode",
        "--input",
        "none.json",
        "--output",
        "x",
        "--template",
        "chat",
        "--tokenizer",
        "tokenizer.json",
    ])
    .fails(
        1,
        &[&format!(
            "`{}` has no chat template",
            desk.path("").display().to_string().trim_end_matches('/')
        )],
    );
    desk.uner(&["predict", "--model", "out", "--text", "a", "--types", "b"]).succeeds();
}

#[test]
fn data_status_says_what_is_missing_and_how_to_get_it() {
    let desk = Desk::new();
    let status = |args: &[&str]| desk.uner(&[&["data", "status"], args].concat());
    fs_err::create_dir_all(desk.path("data/mit-movie")).unwrap();
    desk.write("data/mit-movie/train.txt", "O\ta\n");
    let outcome = status(&["--list", "out-of-domain"]);
    let printed = &outcome.succeeds().stdout;
    assert!(printed.contains("0 of 7 datasets are complete below `data`"), "{printed}");
    let movie = printed.lines().find(|line| line.starts_with("mit-movie ")).unwrap();
    assert!(movie.contains("partial"), "{movie}");
    assert!(printed.contains("get it: https://github.com/zliucr/CrossNER"), "{printed}");
    let json: Value = serde_json::from_str(&status(&["demo", "--json"]).stdout).unwrap();
    assert_eq!(json[0]["name"], "demo");
    assert!(status(&["demo"]).succeeds().stdout.contains("1 of 1 datasets are complete"));
    status(&["--list", "universal-34"]).fails(1, &["universal-34", "universal-43"]);
    status(&["mit-movies"]).fails(1, &["mit-movie"]);
    desk.uner(&["data", "official", "--output", "json"]).fails(1, &["no dataset", "`data`"]);
}
