//! A run that is killed without warning, again and again, ends as the run that was left alone.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

use crate::{DURING, Desk, RECIPE};

const KILLS: usize = 20;
const SETS: [&str; 4] = ["train.max_steps=40", "train.epochs=4", "train.save_every=2", "eval.benchmarks=[]"];

/// A recipe that saves, scores and compares all the time, with wide feed-forward layers, so that writing takes as long as
/// training.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("tiny.toml", &format!("{RECIPE}{DURING}"));
    desk.write("model.toml", &crate::MODEL.replace("intermediate_size = 64", "intermediate_size = 1024"));
    desk
}

fn start(desk: &Desk) -> Child {
    let resume = desk.path("run/latest").exists();
    desk.trainer(&SETS, resume).stderr(Stdio::null()).spawn().unwrap()
}

/// The losses and scores of a run's metrics, without the times.
fn numbers(desk: &Desk, kind: &str, name: &str) -> Vec<(u64, String)> {
    let events = desk.events(kind);
    events.iter().map(|event| (event["step"].as_u64().unwrap(), event[name].to_string())).collect()
}

fn is_writing(desk: &Desk) -> bool {
    desk.names()
        .iter()
        .any(|name| name.starts_with("step-") && Path::new(name).extension().is_some_and(|end| end == "tmp"))
}

/// Waits for a random moment of the run: any, or one at which a checkpoint is being written. False when the run was over
/// before.
fn wait(desk: &Desk, child: &mut Child, random: &mut ChaCha8Rng) -> bool {
    let while_writing = random.random_bool(0.5);
    let pause = Duration::from_millis(random.random_range(if while_writing { 0..10 } else { 50..500 }));
    let mut due = (!while_writing).then(|| Instant::now() + pause);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "a resumed run failed: {status}");
            return false;
        }
        if due.is_none() && is_writing(desk) {
            due = Some(Instant::now() + pause);
        }
        if due.is_some_and(|due| Instant::now() >= due) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn killed_at_twenty_random_moments_and_resumed_is_bitwise_uninterrupted() {
    let (whole, killed) = (desk(), desk());
    assert!(start(&whole).wait().unwrap().success());

    let mut random = ChaCha8Rng::seed_from_u64(20);
    let (mut kills, mut torn) = (0, 0);
    while kills < KILLS {
        let mut child = start(&killed);
        if !wait(&killed, &mut child, &mut random) {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        torn += usize::from(is_writing(&killed));
    }
    assert!(start(&killed).wait().unwrap().success(), "the last resume failed");

    println!("{kills} kills, {torn} of them while a checkpoint was written");
    assert!(kills == KILLS && torn > 0, "{kills} kills, {torn} of them while a checkpoint was written");
    assert_eq!(numbers(&killed, "step", "loss"), numbers(&whole, "step", "loss"));
    assert_eq!(numbers(&killed, "scored", "score"), numbers(&whole, "scored", "score"));
    assert_eq!(killed.read("run/best"), whole.read("run/best"));
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |desk: &Desk| fs_err::read(desk.path(&format!("run/step-000040/{file}"))).unwrap();
        assert!(read(&killed) == read(&whole), "`{file}` differs after {kills} kills");
    }
    let state = |desk: &Desk| {
        let mut state: Value = serde_json::from_str(&desk.read("run/step-000040/state.json")).unwrap();
        // When the run began is all that tells the two apart.
        state["run"]["started"] = Value::Null;
        state
    };
    assert_eq!(state(&killed), state(&whole), "after {kills} kills");
    let steps = |desk: &Desk| {
        let mut names = desk.names();
        names.retain(|name| name.starts_with("step-"));
        names.sort();
        names
    };
    assert_eq!(steps(&killed), steps(&whole), "nothing unfinished is left behind");
}
