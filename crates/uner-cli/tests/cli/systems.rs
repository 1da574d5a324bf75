//! `uner eval --recipe` with every kind of system, and the token classifier from its recipe to its
//! scores.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::Desk;

const WORDS: [&str; 12] =
    ["ada", "bob", "carl", "dana", "rome", "oslo", "paris", "lima", "saw", "left", "in", "."];

/// A dataset of sentences such as `Ada saw Bob in Rome .`, in columns.
fn sentences(desk: &Desk) {
    let (people, cities) = (&WORDS[..4], &WORDS[4..8]);
    let mut text = String::new();
    for number in 0..48 {
        let (person, other) = (people[number % 4], people[(number / 4 + 1) % 4]);
        let (city, verb) = (cities[(number * 7 / 3) % 4], WORDS[8 + number % 2]);
        write!(text, "{person}\tB-PER\n{verb}\tO\n{other}\tB-PER\nin\tO\n{city}\tB-LOC\n.\tO\n\n")
            .unwrap();
    }
    desk.write("train.tsv", &text);
    desk.write(
        "cities.toml",
        "name = \"cities\"\ndomain = \"general\"\nsource = \"made up\"\nlicence = \"none\"\n\
         [types]\nPER = \"person\"\nLOC = \"city\"\n\
         [format]\nkind = \"columns\"\nseparator = \"\\t\"\ntoken = 0\ntags = [1]\nscheme = \"bio\"\n\
         [splits]\ntrain = \"train.tsv\"\ntest = \"train.tsv\"\n",
    );
}

/// The tiny random BERT of the fixtures, with a vocabulary of whole words.
fn encoder(desk: &Desk) {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/bert/tiny");
    fs_err::create_dir(desk.path("encoder")).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs_err::copy(tiny.join(file), desk.path("encoder").join(file)).unwrap();
    }
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let pieces = special.iter().chain(&WORDS).enumerate();
    let vocab: serde_json::Map<String, serde_json::Value> =
        pieces.map(|(id, piece)| ((*piece).to_owned(), id.into())).collect();
    let added: Vec<serde_json::Value> = special
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true,
                       "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab},
    });
    desk.write("encoder/tokenizer.json", &tokenizer.to_string());
}

const TAGGER: &str = r#"
[run]
dir = "run"

[model]
head = "tags"
weights = "encoder"

[data]
root = "."
train = [{ dataset = "cities.toml", split = "train" }]
validation = [{ dataset = "cities.toml", split = "test" }]

[train]
epochs = 20.0
global_batch_size = 8
max_seq_len = 16
lr = 1e-2
save_every = 40
validate_every = 60

[eval]
benchmarks = [{ dataset = "cities.toml", split = "test" }]
during = { every = 60, benchmarks = [{ dataset = "cities.toml", split = "test" }] }
"#;

#[test]
fn a_token_classifier_from_its_recipe_to_its_scores() {
    let desk = Desk::new();
    sentences(&desk);
    encoder(&desk);
    desk.write("tags.toml", TAGGER);
    let planned = desk.uner(&["train", "--recipe", "tags.toml", "--dry-run"]);
    planned.succeeds();
    for part in ["2 layers of 24, 5 labels", "48 sequences, 384 tokens, 288 tagged words"] {
        assert!(planned.stdout.contains(part), "{}", planned.stdout);
    }
    // A run that cannot begin leaves no recipe behind, and one that died early is begun again.
    fs_err::rename(desk.path("train.tsv"), desk.path("away")).unwrap();
    desk.uner(&["train", "--recipe", "tags.toml"]).fails(1, &["train.tsv"]);
    assert!(!desk.path("run/recipe.toml").exists());
    fs_err::rename(desk.path("away"), desk.path("train.tsv")).unwrap();
    desk.uner(&["train", "--recipe", "tags.toml", "--set", "train.lr=1e30"])
        .fails(1, &["the loss is"]);
    assert!(desk.path("run/recipe.toml").exists());
    desk.uner(&["train", "--recipe", "tags.toml"]).succeeds();
    let scores: Vec<f64> =
        desk.events("scored").iter().map(|event| event["score"].as_f64().unwrap()).collect();
    assert_eq!(scores, [1.0, 1.0]);
    assert_eq!(desk.events("validated").len(), 2);

    // The run is measured by a recipe, and by its folder.
    desk.write(
        "bert.toml",
        "run.dir = \"evaluation\"\nmodel.weights = \"run\"\n\
         eval.benchmarks = [{ dataset = \"cities.toml\", split = \"test\" }]\n",
    );
    desk.uner(&["eval", "--recipe", "bert.toml"]).succeeds();
    desk.uner(&["eval", "--model", "run", "--benchmark", "cities.toml"]).succeeds();
    for folder in ["run", "evaluation", "run/eval/cities-test"] {
        let report: serde_json::Value =
            serde_json::from_str(&desk.read(&format!("{folder}/report.json"))).unwrap();
        assert_eq!(report["macro_average"]["strict_f1"], 1.0, "{folder}");
        assert!(desk.read(&format!("{folder}/report.html")).contains("cities"), "{folder}");
    }
    desk.uner(&["predict", "--model", "run", "--text", "Ada", "--types", "person"])
        .fails(1, &["`run` is a token classifier"]);

    // A finished run has nothing to resume; other data is refused.
    desk.uner(&["train", "--recipe", "tags.toml", "--resume"]).succeeds();
    let text = desk.read("train.tsv");
    desk.write("train.tsv", &text.replace("rome\tB-LOC", "rome\tO"));
    desk.uner(&["train", "--recipe", "tags.toml", "--resume"]).fails(1, &["data"]);
    desk.uner(&["train", "--recipe", "tags.toml", "--resume", "--set", "train.lr=1e-3"])
        .fails(1, &["was trained with another `train`"]);
}

#[test]
fn predictions_of_another_program_are_measured() {
    let desk = Desk::new();
    sentences(&desk);
    let line = |text: &str| {
        let start = text.find(" in ").unwrap() + 4;
        let end = text.rfind(' ').unwrap();
        json!({"text": text, "entities": [{"label": "LOC", "start": start, "end": end}]})
    };
    let sentences = desk.read("train.tsv");
    let words = |block: &str| {
        let words = block.lines().filter_map(|line| line.split('\t').next());
        words.collect::<Vec<_>>().join(" ")
    };
    let lines = sentences.split("\n\n").filter(|block| !block.trim().is_empty());
    let lines: Vec<String> = lines.map(|block| line(&words(block)).to_string()).collect();
    desk.write("found.jsonl", &lines.join("\n"));
    desk.write(
        "other.toml",
        "run.dir = \"evaluation\"\n\
         [predictions]\nname = \"another program\"\n\
         files = [{ path = \"found.jsonl\", format = \"spans\" }]\n\
         [eval]\nbenchmarks = [{ dataset = \"cities.toml\", split = \"test\" }]\n",
    );
    desk.uner(&["eval", "--recipe", "other.toml"]).succeeds();
    let report: serde_json::Value =
        serde_json::from_str(&desk.read("evaluation/report.json")).unwrap();
    assert_eq!(report["system"], "another program");
    // Every city, and none of the two persons: 48 of 144.
    assert_eq!(report["macro_average"]["strict_f1"], 0.5);

    desk.uner(&["eval", "--recipe", "other.toml", "--benchmark", "demo"])
        .fails(2, &["cannot be used with"]);
    desk.uner(&["eval", "--recipe", "chatgtp"]).fails(2, &["did you mean `chatgpt`?"]);
    let table = desk.uner(&["reproduce", "negatives"]);
    table.succeeds();
    assert!(table.stdout.contains("uner-train --recipe negatives-none"), "{}", table.stdout);
}

/// A server that answers every request with `["ada"]`, and counts requests.
fn endpoint() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let requests = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            requests.fetch_add(1, Ordering::SeqCst);
            let answer = json!({
                "choices": [{"message": {"role": "assistant", "content": "[\"ada\"]"},
                             "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 30, "completion_tokens": 5},
            })
            .to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n",
                answer.len()
            );
            stream.write_all((head + &answer).as_bytes()).unwrap();
        }
    });
    (url, count)
}

#[test]
fn a_model_behind_an_api_is_measured_and_asked_nothing_twice() {
    let desk = Desk::new();
    sentences(&desk);
    let (url, requests) = endpoint();
    desk.write(
        "endpoint.toml",
        &format!(
            "run.dir = \"evaluation\"\nendpoint = {{ url = \"{url}\", model = \"m\" }}\n\
             eval.benchmarks = [{{ dataset = \"cities.toml\", split = \"test\", limit = 4 }}]\n"
        ),
    );
    desk.uner(&["eval", "--recipe", "endpoint.toml"]).succeeds();
    let report: serde_json::Value =
        serde_json::from_str(&desk.read("evaluation/report.json")).unwrap();
    assert_eq!(report["system"], "endpoint:m (zero-shot)");
    let asked = requests.load(Ordering::SeqCst);
    assert!((2..=8).contains(&asked), "{asked} requests for four texts and two types");
    desk.uner(&["eval", "--recipe", "endpoint.toml", "--resume"]).succeeds();
    fs_err::remove_dir_all(desk.path("evaluation/predictions")).unwrap();
    desk.uner(&["eval", "--recipe", "endpoint.toml", "--resume"]).succeeds();
    assert_eq!(requests.load(Ordering::SeqCst), asked);
    let again: serde_json::Value =
        serde_json::from_str(&desk.read("evaluation/report.json")).unwrap();
    assert_eq!(again["macro_average"], report["macro_average"]);
}
