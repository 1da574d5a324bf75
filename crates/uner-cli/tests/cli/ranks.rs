//! A run on several devices or in several processes equals the run on one.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::Desk;

/// Tolerance, relative to a loss or to a weight's largest entry: the same terms in another order,
/// and few updates by AdamW.
const TOLERANCE: f64 = 1e-4;

/// Losses and gradient norms of the steps of a run.
fn metrics(desk: &Desk, run: &str) -> Vec<[f64; 2]> {
    let text = desk.read(&format!("{run}/metrics.jsonl"));
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps = events.filter(|event| event["event"] == "step");
    steps.map(|step| ["loss", "grad_norm"].map(|key| step[key].as_f64().unwrap())).collect()
}

fn weights(desk: &Desk, checkpoint: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs_err::read(desk.path(checkpoint).join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| (name.to_owned(), bytemuck::pod_collect_to_vec(view.data())))
        .collect()
}

#[track_caller]
fn assert_same_run(desk: &Desk, run: &str, expected: &str) {
    let (got, wanted) = (metrics(desk, run), metrics(desk, expected));
    assert_eq!((got.len(), wanted.len()), (4, 4), "{run}");
    for (got, wanted) in got.iter().flatten().zip(wanted.iter().flatten()) {
        assert!((got / wanted - 1.0).abs() < TOLERANCE, "{run}: {got} is not {wanted}");
    }
    let checkpoint = |run: &str| weights(desk, &format!("{run}/step-000004"));
    for (name, wanted) in checkpoint(expected) {
        let largest = wanted.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        for (got, wanted) in checkpoint(run)[&name].iter().zip(&wanted) {
            let near = f64::from((got - wanted).abs()) <= TOLERANCE * f64::from(largest);
            assert!(near, "{run}: {name}: {got} is not {wanted}");
        }
    }
}

#[test]
fn devices_of_one_process() {
    let desk = Desk::new();
    desk.train(&["run.dir=one", "train.micro_batch_rows=1"]).succeeds();
    let outcome =
        desk.train(&["run.dir=three", "run.device=flex,flex,flex", "train.micro_batch_rows=1"]);
    outcome.succeeds();
    assert!(
        outcome.stdout.contains("strict F1 unseen"),
        "the first rank measures: {}",
        outcome.stdout
    );
    assert_eq!(
        outcome.stderr.matches("saved `three").count(),
        2,
        "only one rank talks: {}",
        outcome.stderr
    );
    assert_same_run(&desk, "three", "one");
    desk.train(&["run.device=flex,cuda:99"]).fails(1, &["`cuda:99`"]);
}

/// Makes the blocks most of the tiny run's memory.
fn deepen(desk: &Desk) {
    let model = desk.read("model.toml").replace("num_hidden_layers = 2", "num_hidden_layers = 16");
    let model = model.replace("hidden_size = 32", "hidden_size = 128");
    desk.write("model.toml", &model.replace("intermediate_size = 64", "intermediate_size = 256"));
}

/// The `run.memory.limit_gib` with which a run on `ranks` ranks just fits.
fn least_limit(desk: &Desk, ranks: usize) -> String {
    let device = format!("run.device={}", vec!["flex"; ranks].join(","));
    let args = [
        "train",
        "--recipe",
        "tiny",
        "--dry-run",
        "--set",
        "run.memory.limit_gib=0.001",
        "--set",
        &device,
    ];
    let problem = desk.uner(&args).stderr;
    let needed = problem.split_once("the run takes ").and_then(|(_, rest)| rest.split_once(" MiB"));
    let needed: f64 = needed.unwrap_or_else(|| panic!("{problem}")).0.parse().unwrap();
    // A plan uses 0.65 of the host's memory.
    format!("run.memory.limit_gib={}", 1.05 * needed / 0.65 / 1024.0)
}

#[test]
fn blocks_are_sharded_where_the_model_does_not_fit_otherwise() {
    let desk = Desk::new();
    deepen(&desk);
    let keys = [
        "train.micro_batch_rows=1",
        "train.validate_every=2",
        "data.validation=[{ dataset = \"demo\", split = \"validation\", cap = 4 }]",
    ];
    let run = |dir: &str, more: &[&str]| {
        let dir = format!("run.dir={dir}");
        let sets: Vec<&str> =
            keys.iter().copied().chain([dir.as_str()]).chain(more.iter().copied()).collect();
        desk.train(&sets)
    };
    run("one", &[]).succeeds();
    let outcome = run("three", &["run.device=flex,flex,flex", &least_limit(&desk, 3)]);
    outcome.succeeds();
    assert!(outcome.stderr.contains("blocks sharded over 3 ranks"), "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("strict F1 unseen"),
        "the last checkpoint is measured: {}",
        outcome.stdout
    );
    assert_same_run(&desk, "three", "one");

    // A run that resumes with more memory stays sharded, bitwise equal to the uninterrupted one.
    let limit = least_limit(&desk, 3);
    let (device, half) = ("run.device=flex,flex,flex", "train.max_steps=2");
    run("halves", &[device, half, &limit, "eval.benchmarks=[]", "train.schedule=constant"])
        .succeeds();
    run("whole", &[device, &limit, "eval.benchmarks=[]", "train.schedule=constant"]).succeeds();
    let sets = ["run.dir=halves", device, "eval.benchmarks=[]", "train.schedule=constant"];
    let sets = keys.iter().copied().chain(sets).flat_map(|set| ["--set", set]);
    let args: Vec<&str> =
        ["train", "--recipe", "tiny", "--resume"].into_iter().chain(sets).collect();
    let outcome = desk.uner(&args);
    outcome.succeeds();
    assert!(outcome.stderr.contains("blocks sharded over 3 ranks"), "{}", outcome.stderr);
    let last = |run: &str| weights(&desk, &format!("{run}/step-000004"));
    assert_eq!(last("halves"), last("whole"));
}

#[cfg(not(feature = "mpi"))]
#[test]
fn processes_without_mpi_are_refused() {
    let desk = Desk::new();
    let args = ["train", "--recipe", "tiny"];
    let outcome = desk.run(
        std::process::Command::new(env!("CARGO_BIN_EXE_uner"))
            .args(args)
            .env("OMPI_COMM_WORLD_SIZE", "4"),
    );
    outcome.fails(1, &["one of 4 processes", "--features mpi"]);
    assert!(!desk.path("run").exists());
}

#[cfg(feature = "mpi")]
mod mpi {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::{assert_same_run, deepen, least_limit, metrics, weights};
    use crate::Desk;

    /// `uner-train` with `tiny.toml` in `processes` processes; `None` without `mpirun`.
    fn mpirun(desk: &Desk, processes: usize, args: &[&str]) -> Option<Command> {
        if Command::new("mpirun").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(std::env::var("UNER_REQUIRE_MPI").is_err(), "there is no `mpirun`");
            eprintln!("SKIPPED: there is no `mpirun`");
            return None;
        }
        let mut command = Command::new("mpirun");
        // OpenMPI needs flags for more processes than processors, and for root in a container.
        command.args(["--oversubscribe", "--allow-run-as-root", "-n", &processes.to_string()]);
        command.arg(env!("CARGO_BIN_EXE_uner-train")).args(["--recipe", "tiny"]).args(args);
        command.current_dir(desk.path(".")).env("RAYON_NUM_THREADS", "1").env_remove("RUST_LOG");
        Some(command)
    }

    fn sets<'a>(values: &[&'a str]) -> Vec<&'a str> {
        values.iter().flat_map(|value| ["--set", value]).collect()
    }

    #[test]
    fn two_processes_and_two_with_two_devices_each() {
        let desk = Desk::new();
        desk.train(&["run.dir=one", "train.micro_batch_rows=1"]).succeeds();
        for (processes, run, device) in
            [(2, "two", "flex"), (2, "four", "flex,flex"), (3, "three", "flex")]
        {
            let (dir, device) = (format!("run.dir={run}"), format!("run.device={device}"));
            let args = sets(&[&dir, &device, "train.micro_batch_rows=1"]);
            let Some(mut command) = mpirun(&desk, processes, &args) else { return };
            let outcome = desk.run(&mut command);
            outcome.succeeds();
            assert_eq!(outcome.stdout.matches("strict F1 unseen").count(), 1, "{}", outcome.stdout);
            assert_same_run(&desk, run, "one");
        }
    }

    #[test]
    fn blocks_sharded_over_two_processes() {
        let desk = Desk::new();
        deepen(&desk);
        desk.train(&["run.dir=one", "train.micro_batch_rows=1"]).succeeds();
        let limit = least_limit(&desk, 2);
        let args = sets(&["run.dir=two", "train.micro_batch_rows=1", &limit]);
        let Some(mut command) = mpirun(&desk, 2, &args) else { return };
        let outcome = desk.run(&mut command);
        outcome.succeeds();
        assert!(outcome.stderr.contains("blocks sharded over 2 ranks"), "{}", outcome.stderr);
        assert_same_run(&desk, "two", "one");
    }

    /// The processes that `mpirun` started.
    fn children(of: &Child) -> Vec<String> {
        let output = Command::new("pgrep")
            .args(["-P", &of.id().to_string(), "uner-train"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_killed_process_ends_the_others_and_the_run_goes_on_bitwise() {
        let desk = Desk::new();
        let keys =
            ["train.epochs=30.0", "train.max_steps=60", "train.save_every=5", "eval.benchmarks=[]"];
        let mut whole = sets(&keys);
        whole.extend(["--set", "run.dir=whole"]);
        let Some(mut command) = mpirun(&desk, 2, &whole) else { return };
        desk.run(&mut command).succeeds();

        let mut command = mpirun(&desk, 2, &sets(&keys)).expect("as before");
        let mut started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while !desk.path("run/latest").exists() {
            assert!(start.elapsed() < Duration::from_mins(1), "nothing was saved");
            std::thread::sleep(Duration::from_millis(20));
        }
        let processes = children(&started);
        assert_eq!(processes.len(), 2);
        assert!(Command::new("kill").args(["-9", &processes[1]]).status().unwrap().success());
        assert!(!started.wait().unwrap().success());
        assert!(!desk.path("run/step-000060").exists(), "it was killed too late to show anything");

        let mut resumed = sets(&keys);
        resumed.push("--resume");
        desk.run(&mut mpirun(&desk, 2, &resumed).expect("as before")).succeeds();
        assert_eq!(metrics(&desk, "run"), metrics(&desk, "whole"));
        assert_eq!(weights(&desk, "run/step-000060"), weights(&desk, "whole/step-000060"));
    }

    #[test]
    fn the_error_of_one_process_is_told_and_ends_all() {
        let desk = Desk::new();
        let args = sets(&["run.device=cuda:0,cuda:1,cuda:2"]);
        let Some(mut command) = mpirun(&desk, 2, &args) else { return };
        let outcome = desk.run(&mut command);
        assert_ne!(outcome.code, Some(0));
        assert!(outcome.stderr.contains("3 devices for 2 processes"), "{}", outcome.stderr);
    }
}
