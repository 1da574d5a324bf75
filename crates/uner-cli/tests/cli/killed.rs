//! A run that is killed without warning, again and again, ends as the run that was left alone.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Desk;

const SETS: [&str; 4] = ["train.max_steps=40", "train.epochs=4", "train.save_every=2", "eval.benchmarks=[]"];

fn command(desk: &Desk, resume: bool) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uner"));
    command.args(["train", "--recipe", "tiny"]).args(SETS.iter().flat_map(|value| ["--set", value]));
    if resume {
        command.arg("--resume");
    }
    command.current_dir(desk.path("")).stderr(Stdio::null()).stdout(Stdio::null());
    command
}

/// The losses of a run's metrics, without the times.
fn losses(desk: &Desk) -> Vec<(u64, String)> {
    let text = desk.read("run/metrics.jsonl");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let steps = lines.filter(|line| line["event"] == "step");
    steps.map(|line| (line["step"].as_u64().unwrap(), line["loss"].to_string())).collect()
}

#[test]
fn killed_at_any_moment_and_resumed_is_bitwise_uninterrupted() {
    let (whole, killed) = (Desk::new(), Desk::new());
    assert!(command(&whole, false).status().unwrap().success());

    let mut kills = 0;
    // Moments that differ from round to round, so that steps, saving and starting are all hit sooner or later.
    for round in 0..200u64 {
        let mut child = command(&killed, killed.path("run/latest").exists()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 + round * 37 % 160));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if kills == 20 {
            assert!(command(&killed, killed.path("run/latest").exists()).status().unwrap().success());
            break;
        }
    }
    assert!(kills > 0, "the run was never killed");
    assert_eq!(losses(&killed), losses(&whole));
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |desk: &Desk| fs_err::read(desk.path(&format!("run/step-000040/{file}"))).unwrap();
        assert!(read(&killed) == read(&whole), "`{file}` differs after {kills} kills");
    }
}
