//! Signals of a batch system or a user: the run finishes its step, saves, exits with 130, and can
//! be resumed.

#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{DURING, Desk, MODEL, RECIPE};

/// Longer than any step, evaluation or checkpoint of these runs.
const PATIENCE: Duration = Duration::from_mins(2);

fn start(desk: &Desk, sets: &[&str], resume: bool) -> Child {
    desk.trainer(sets, resume).stderr(Stdio::null()).spawn().unwrap()
}

fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Waits until `now` is true, while the run continues.
fn until(child: &mut Child, mut now: impl FnMut() -> bool) {
    let start = Instant::now();
    while !now() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        assert!(start.elapsed() < PATIENCE, "it never came to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lines of one kind in the metrics of a run that is being written.
fn count(desk: &Desk, kind: &str) -> usize {
    let text = fs_err::read_to_string(desk.path("run/metrics.jsonl")).unwrap_or_default();
    text.matches(&format!("{{\"event\":\"{kind}\"")).count()
}

fn assert_saved_its_last_step(desk: &Desk) {
    let last = desk.events("step").last().unwrap()["step"].as_u64().unwrap();
    assert_eq!(
        desk.read("run/latest"),
        format!("step-{last:06}"),
        "the last step that was done is the one saved"
    );
}

fn losses(desk: &Desk) -> Vec<String> {
    desk.events("step").iter().map(|event| event["loss"].to_string()).collect()
}

#[test]
fn between_checkpoints() {
    for signal in ["INT", "TERM"] {
        let desk = Desk::new();
        let sets = [
            "train.max_steps=100000",
            "train.epochs=100000",
            "train.save_every=100000",
            "eval.benchmarks=[]",
        ];
        let mut child = start(&desk, &sets, false);
        until(&mut child, || count(&desk, "step") > 1);
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert_saved_its_last_step(&desk);
    }
}

#[test]
fn while_a_checkpoint_is_written() {
    let whole = Desk::new();
    // Wide layers make a checkpoint of 20 MB.
    let model = MODEL.replace("intermediate_size = 64", "intermediate_size = 8192");
    whole.write("model.toml", &model);
    let sets = ["train.max_steps=4", "train.epochs=4", "train.save_every=2", "eval.benchmarks=[]"];
    assert!(start(&whole, &sets, false).wait().unwrap().success());
    for signal in ["INT", "TERM"] {
        let desk = Desk::new();
        desk.write("model.toml", &model);
        let mut child = start(&desk, &sets, false);
        until(&mut child, || desk.names().contains(&"step-000002.tmp".to_owned()));
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert_saved_its_last_step(&desk);
        let names = desk.names();
        assert!(
            !names.iter().any(|name| Path::new(name).extension().is_some_and(|end| end == "tmp")),
            "{names:?}"
        );
        assert!(
            names.contains(&"step-000002".to_owned()),
            "what was being written was finished: {names:?}"
        );

        assert!(start(&desk, &sets, true).wait().unwrap().success());
        assert_eq!(losses(&desk), losses(&whole), "{signal}");
    }
}

#[test]
fn while_the_model_is_scored() {
    // Some seconds of generation after the second step.
    let long = DURING.replace("limit = 1", "limit = 60");
    let recipe = format!("{}{long}", RECIPE.replace("max_new_tokens = 4", "max_new_tokens = 40"));
    let sets = ["train.max_steps=3", "train.save_every=100", "eval.benchmarks=[]"];
    let whole = Desk::new();
    whole.write("tiny.toml", &recipe);
    assert!(start(&whole, &sets, false).wait().unwrap().success());
    let seconds = whole.events("scored")[0]["seconds"].as_f64().unwrap();
    for signal in ["INT", "TERM"] {
        let desk = Desk::new();
        desk.write("tiny.toml", &recipe);
        let mut child = start(&desk, &sets, false);
        until(&mut child, || count(&desk, "step") == 2);
        std::thread::sleep(Duration::from_secs_f64(seconds / 10.0));
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert_saved_its_last_step(&desk);
        assert_eq!(desk.events("scored").len(), 0, "{signal}: the evaluation was not cut short");
        let state: serde_json::Value =
            serde_json::from_str(&desk.read("run/step-000002/state.json")).unwrap();
        assert_eq!(state["best_tracker"]["evaluation_pending"], true);

        // The resumed run computes the missing evaluation.
        assert!(start(&desk, &sets, true).wait().unwrap().success());
        let scores = |desk: &Desk| -> Vec<(String, String)> {
            let scored = desk.events("scored");
            scored
                .iter()
                .map(|event| (event["step"].to_string(), event["score"].to_string()))
                .collect()
        };
        assert_eq!((losses(&desk), scores(&desk)), (losses(&whole), scores(&whole)), "{signal}");
        let weights =
            |desk: &Desk| fs_err::read(desk.path("run/step-000003/model.safetensors")).unwrap();
        assert!(weights(&desk) == weights(&whole), "{signal}: the weights differ");
        assert_eq!(desk.read("run/best"), whole.read("run/best"), "{signal}");
    }
}

/// `nohup` makes its program ignore the loss of the terminal.
#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    let desk = Desk::new();
    let script = "trap '' HUP; exec \"$0\" train --recipe tiny --set eval.benchmarks=[] --set train.epochs=6 --set train.max_steps=60 \
                  --set train.save_every=1";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_uner")]).current_dir(desk.path("."));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(&mut child, || desk.path("run/latest").exists());
    send(&child, "HUP");
    assert!(child.wait().unwrap().success());
    assert_eq!(desk.read("run/latest"), "step-000060");
}
