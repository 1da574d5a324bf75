//! Models and datasets from the hub, which is a server in this process: requests, refusals,
//! downloads, resumed downloads.

mod server;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::{Desk, Outcome};
use server::{Fault, Hub};

const MODEL: &str = "hf:org/name";

/// A desk, and a hub with the model that was trained in it.
fn published() -> (Desk, Hub) {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let folder = desk.path("run/step-000004");
    let file = |name: &str| (name.to_owned(), fs_err::read(folder.join(name)).unwrap());
    let files = ["config.json", "tokenizer.json", "model.safetensors"].map(file);
    let hub = Hub::start(files.into_iter().chain([("README.md".to_owned(), b"A model.".to_vec())]));
    fs_err::remove_dir_all(desk.path("run")).unwrap();
    (desk, hub)
}

/// Runs `uner train` on the hub's model, with more arguments.
fn train(desk: &Desk, endpoint: &str, more: &[&str]) -> Outcome {
    let weights = format!("model.weights={MODEL}");
    let sets = [weights.as_str(), "eval.benchmarks=[]", "train.max_steps=2"];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_uner"));
    command
        .args(["train", "--recipe", "from-hub"])
        .args(sets.iter().flat_map(|set| ["--set", set]))
        .args(more);
    // The recipe without the lines for random weights: the model has its own dimensions and
    // tokenizer.
    let recipe =
        desk.read("tiny.toml").replace("config = \"model.toml\"\ntokenizer = \"train\"\n", "");
    desk.write("from-hub.toml", &recipe);
    command.env("HF_HOME", desk.path("hub")).env("HF_ENDPOINT", endpoint).env("HF_TOKEN", "secret");
    desk.run(&mut command)
}

/// Runs `uner` with these arguments and this hub.
fn uner(desk: &Desk, endpoint: &str, args: &[&str]) -> Outcome {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_uner"));
    command.args(args).env("HF_HOME", desk.path("hub")).env("HF_ENDPOINT", endpoint);
    desk.run(&mut command)
}

const ACCEPT: [&str; 2] = ["--accept-licence", MODEL];

#[test]
fn nothing_is_downloaded_before_its_licence_is_accepted() {
    let (desk, hub) = published();
    let parts = [
        "hf:org/name is not in the cache: ",
        "https://huggingface.co/org/name",
        "3 files, ",
        "licence: llama2",
        "`--accept-licence hf:org/name`",
    ];
    train(&desk, &hub.endpoint(), &[]).fails(1, &parts);
    train(&desk, &hub.endpoint(), &["--accept-licence", "hf:org/other"]).fails(1, &parts);
    assert!(
        hub.asked().iter().all(|line| line.starts_with("GET /api/models/org/name/revision/main?")),
        "{:?}",
        hub.asked()
    );
    assert!(!desk.path("hub").exists());
    let outcome = train(&desk, &hub.endpoint(), &["--accept-licence", "org/name"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    // Without a hub, the error still shows the command to type.
    let parts = ["licence and size could not be read", "`--accept-licence hf:org/name`"];
    train(&desk, server::NOBODY, &[]).fails(1, &parts);
}

#[test]
fn what_was_accepted_is_downloaded_once_and_works_offline() {
    let (desk, hub) = published();
    train(&desk, &hub.endpoint(), &ACCEPT).succeeds();
    assert!(desk.path("run/step-000002/model.safetensors").is_file());
    let asked = hub.asked();
    assert!(asked.iter().all(|line| line.ends_with("Bearer secret")), "{asked:?}");
    assert!(!asked.iter().any(|line| line.contains("README.md")), "{asked:?}");

    fs_err::remove_dir_all(desk.path("run")).unwrap();
    train(&desk, server::NOBODY, &[]).succeeds();
    assert_eq!(hub.asked().len(), asked.len(), "the second run asked nothing");
}

#[test]
fn a_model_of_the_hub_is_asked_measured_and_exported() {
    let (desk, hub) = published();
    let ask = [
        "predict",
        "--model",
        MODEL,
        "--template",
        "zero-shot",
        "--text",
        "Ann ran.",
        "--types",
        "person",
    ];
    let parts =
        ["hf:org/name is not in the cache: ", "licence: llama2", "`--accept-licence hf:org/name`"];
    uner(&desk, &hub.endpoint(), &ask).fails(1, &parts);
    assert!(!desk.path("hub").exists());
    let outcome = uner(&desk, &hub.endpoint(), &[&ask[..], &ACCEPT].concat());
    let answer = outcome.succeeds().stdout.clone();
    assert!(answer.contains("\"text\": \"Ann ran.\""), "{answer}");

    // From now on, without a hub.
    assert_eq!(uner(&desk, server::NOBODY, &ask).succeeds().stdout, answer);
    let eval = [
        "eval",
        "--model",
        MODEL,
        "--template",
        "zero-shot",
        "--benchmark",
        "demo",
        "--limit",
        "1",
    ];
    uner(&desk, server::NOBODY, &eval)
        .fails(1, &["the report has no default folder", "`--output`"]);
    uner(&desk, server::NOBODY, &[&eval[..], &["--output", "scores"]].concat()).succeeds();
    assert!(desk.path("scores/report.md").is_file() && !desk.path(MODEL).exists());
    uner(&desk, server::NOBODY, &["export", "--model", MODEL, "--output", "copy"]).succeeds();
    assert!(desk.path("copy/model.safetensors").is_file());
    uner(&desk, server::NOBODY, &["predict", "--model", "hf:name", "--text", "x", "--types", "y"])
        .fails(1, &["`hf:name` is not a repository of the hub"]);
}

#[test]
fn a_refusal_says_what_to_do() {
    let (desk, hub) = published();
    hub.set(Fault::Status(401));
    train(&desk, &hub.endpoint(), &ACCEPT)
        .fails(1, &["refuses access to hf:org/name (HTTP 401)", "HF_TOKEN"]);
    hub.set(Fault::Status(404));
    train(&desk, &hub.endpoint(), &ACCEPT)
        .fails(1, &["hf:org/name or one of its files is not on the hub", "HTTP 404"]);
}

#[test]
fn files_may_lie_elsewhere() {
    let (desk, hub) = published();
    hub.set(Fault::Redirect);
    train(&desk, &hub.endpoint(), &ACCEPT).succeeds();
    assert!(
        hub.asked().iter().any(|line| line.starts_with("GET /elsewhere/")),
        "{:?}",
        hub.asked()
    );
}

#[test]
fn a_download_that_was_cut_off_is_gone_on_with() {
    let (desk, hub) = published();
    hub.set(Fault::Short);
    train(&desk, &hub.endpoint(), &ACCEPT)
        .fails(1, &["cut off", "run the same command again to continue it"]);
    // An incomplete model is refused.
    train(&desk, server::NOBODY, &[]).fails(1, &["`--accept-licence hf:org/name`"]);
    hub.set(Fault::None);
    let before = hub.asked().len();
    train(&desk, &hub.endpoint(), &ACCEPT).succeeds();
    let continued = |line: &String| line.contains(" bytes=") && !line.contains(" bytes=0-");
    assert!(hub.asked()[before..].iter().any(continued), "{:?}", hub.asked());
}

#[test]
fn a_server_that_cannot_go_on_is_asked_again_from_the_start() {
    let (desk, hub) = published();
    hub.set(Fault::Short);
    train(&desk, &hub.endpoint(), &ACCEPT).fails(1, &["cut off"]);
    hub.set(Fault::IgnoresRange);
    let outcome = train(&desk, &hub.endpoint(), &ACCEPT);
    assert!(
        outcome.succeeds().stderr.contains("downloading it again from its start"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_is_not_what_was_announced_is_refused() {
    let (desk, hub) = published();
    hub.set(Fault::Flipped);
    train(&desk, &hub.endpoint(), &ACCEPT).fails(1, &["its checksum is ", "neither was kept"]);
    train(&desk, server::NOBODY, &[]).fails(1, &["`--accept-licence hf:org/name`"]);
    hub.set(Fault::None);
    train(&desk, &hub.endpoint(), &ACCEPT).succeeds();
}

#[test]
fn a_dataset_comes_from_the_hub_too() {
    let desk = Desk::new();
    let lines = (0..20)
        .map(|number| {
            format!("{{\"text\": \"Ann {number} ran.\", \"entities\": [{{\"start\": 0, \"end\": 3, \"label\": \"person\"}}]}}\n")
        })
        .collect::<Vec<String>>()
        .concat();
    let hub = Hub::start([("train.jsonl".to_owned(), lines.into_bytes())]);
    let data = "data.train=[{ split = \"train\", dataset = { name = \"d\", hub = \"org/name\", licence = \"CC0\", \
                format = { kind = \"jsonl\" }, splits = { train = \"d/train.jsonl\" } } }]";
    let run = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_uner"));
        command
            .args(["train", "--recipe", "tiny", "--set", data, "--set", "eval.benchmarks=[]"])
            .args(more);
        desk.run(command.env("HF_HOME", desk.path("hub")).env("HF_ENDPOINT", hub.endpoint()))
    };
    run(&[]).fails(
        1,
        &[
            "d/train.jsonl` does not exist",
            "licence: CC0",
            "https://huggingface.co/datasets/org/name",
            "`--accept-licence hf:org/name`",
        ],
    );
    run(&ACCEPT).succeeds();
    fs_err::remove_dir_all(desk.path("run")).unwrap();
    run(&[]).succeeds();
}

/// Git's object id of a file.
fn git_name(content: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex(&hasher.finalize())
}

fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
