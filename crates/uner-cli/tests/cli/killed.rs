//! A run that is killed again and again ends exactly as an uninterrupted run.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

use crate::{DURING, Desk, RECIPE};

const KILLS: usize = 24;
const SETS: [&str; 4] =
    ["train.max_steps=60", "train.epochs=6", "train.save_every=2", "eval.benchmarks=[]"];

/// A desk whose recipe often saves, scores and compares, with wide feed-forward layers, so that
/// writing takes as long as training.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("tiny.toml", &format!("{RECIPE}{DURING}"));
    desk.write(
        "model.toml",
        &crate::MODEL.replace("intermediate_size = 64", "intermediate_size = 1024"),
    );
    desk
}

/// Prefixes of the command: none, one that closes stderr, and `nohup`, which survives the terminal.
const BEFORE: [&[&str]; 3] = [&[], &["sh", "-c", "exec \"$@\" 2>&-", "sh"], &["nohup"]];

fn start(desk: &Desk, before: &[&str]) -> Child {
    let mut run = desk.trainer(&SETS, desk.path("run/latest").exists());
    if let [program, args @ ..] = before {
        let mut wrapped = Command::new(program);
        wrapped.args(args).arg(run.get_program()).args(run.get_args()).current_dir(desk.path(""));
        run = wrapped;
    }
    run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The losses and scores of a run's metrics, without the times.
fn numbers(desk: &Desk, kind: &str, name: &str) -> Vec<(u64, String)> {
    let events = desk.events(kind);
    events.iter().map(|event| (event["step"].as_u64().unwrap(), event[name].to_string())).collect()
}

/// Incomplete folders: of a checkpoint that is being written, or of an older one that is being
/// removed.
fn unfinished(desk: &Desk) -> Vec<String> {
    let is_unfinished = |name: &String| {
        name.starts_with("step-") && Path::new(name).extension().is_some_and(|end| end == "tmp")
    };
    desk.names().into_iter().filter(is_unfinished).collect()
}

fn latest(desk: &Desk) -> String {
    fs_err::read_to_string(desk.path("run/latest")).unwrap_or_default()
}

fn is_writing(desk: &Desk) -> bool {
    unfinished(desk).iter().any(|name| *name > latest(desk))
}

fn is_removing(desk: &Desk) -> bool {
    unfinished(desk).iter().any(|name| *name < latest(desk))
}

/// Whether a moment has been reached.
type Moment = fn(&Desk) -> bool;

/// Waits for a random moment of the run: any, one during the writing of a checkpoint, or one during
/// the removal of an old one. False if the run ends before.
fn wait(desk: &Desk, child: &mut Child, random: &mut ChaCha8Rng) -> bool {
    /// The moments, and the longest pause after each, in microseconds.
    const MOMENTS: [(Moment, u64); 3] =
        [(|_| true, 500_000), (is_writing, 10_000), (is_removing, 300)];
    let (is_moment, longest) = MOMENTS[random.random_range(0..MOMENTS.len())];
    let pause = Duration::from_micros(random.random_range(0..longest));
    let mut due = None;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "a resumed run failed: {status}");
            return false;
        }
        if due.is_none() && is_moment(desk) {
            due = Some(Instant::now() + pause);
        }
        if due.is_some_and(|due| Instant::now() >= due) {
            return true;
        }
    }
}

#[test]
fn killed_at_random_moments_and_resumed_is_bitwise_uninterrupted() {
    let (whole, killed) = (desk(), desk());
    assert!(start(&whole, &[]).wait().unwrap().success());

    let mut random = ChaCha8Rng::seed_from_u64(20);
    let (mut kills, mut torn, mut removed) = (0, 0, 0);
    while kills < KILLS {
        let mut child = start(&killed, BEFORE[kills % BEFORE.len()]);
        if !wait(&killed, &mut child, &mut random) {
            fs_err::remove_dir_all(killed.path("run")).unwrap();
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        torn += usize::from(is_writing(&killed));
        removed += usize::from(is_removing(&killed));
    }
    assert!(start(&killed, &[]).wait().unwrap().success(), "the last resume failed");

    let course = format!(
        "{kills} kills, {torn} of them while a checkpoint was written, {removed} while one was removed"
    );
    println!("{course}");
    assert!(torn > 0 && removed > 0, "{course}");
    assert_eq!(numbers(&killed, "step", "loss"), numbers(&whole, "step", "loss"));
    assert_eq!(numbers(&killed, "scored", "score"), numbers(&whole, "scored", "score"));
    assert_eq!(killed.read("run/best"), whole.read("run/best"));
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read =
            |desk: &Desk| fs_err::read(desk.path(&format!("run/step-000060/{file}"))).unwrap();
        assert!(read(&killed) == read(&whole), "`{file}` differs after {kills} kills");
    }
    let state = |desk: &Desk| {
        let mut state: Value =
            serde_json::from_str(&desk.read("run/step-000060/state.json")).unwrap();
        // The two differ only in the start of the run.
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
