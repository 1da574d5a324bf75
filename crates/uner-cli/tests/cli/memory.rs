//! A run uses no more of the machine's memory than its plan allows. Another test compares the
//! estimate with counted allocations (`uner_plan::cost`); resident memory is larger, since the
//! allocator keeps freed memory.
#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Desk;

/// Share of the host's memory that a plan uses, as in `uner_plan::machine`.
const HOST_SHARE: f64 = 0.65;

/// A model and how it is trained.
struct Case {
    name: &'static str,
    /// hidden, intermediate, layers, heads, key/value heads, vocabulary
    model: [usize; 6],
    tied: bool,
    row_length: usize,
    rows: usize,
    conversations: usize,
    /// GiB that the plan may use: with few of them, blocks are recomputed.
    limit: f64,
}

const CASES: [Case; 2] = [
    Case {
        name: "wide vocabulary",
        model: [256, 512, 2, 4, 4, 32_000],
        tied: false,
        row_length: 512,
        rows: 2,
        conversations: 24,
        limit: 4.0,
    },
    Case {
        name: "deep, half recomputed",
        model: [256, 704, 8, 4, 4, 2_048],
        tied: true,
        row_length: 512,
        rows: 2,
        conversations: 24,
        limit: 0.42,
    },
];

/// The memory that a run planned and used, in bytes.
#[derive(Debug)]
struct Measured {
    planned: f64,
    /// Part of that: the copy from which a checkpoint is written.
    checkpoint: f64,
    recomputed: String,
    peak: f64,
}

#[test]
fn a_run_takes_no_more_than_its_plan_counted_on() {
    let tiny = Case {
        name: "tiny",
        model: [32, 64, 1, 2, 2, 512],
        tied: true,
        row_length: 256,
        rows: 1,
        conversations: 8,
        limit: 4.0,
    };
    let program = run(&tiny).peak;
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    for case in &CASES {
        let Measured { planned, checkpoint, recomputed, peak } = run(case);
        let (taken, counted_on) = (mib(peak - program), mib(planned / HOST_SHARE));
        println!(
            "{}, {recomputed} recomputed: planned {:.0} MiB, {taken:.0} MiB resident",
            case.name,
            mib(planned)
        );
        assert!(
            taken <= counted_on,
            "{}: {taken:.0} MiB resident, {counted_on:.0} MiB counted on",
            case.name
        );
        // A plan that estimates far too much would recompute more blocks than necessary. The disk
        // decides whether a checkpoint is still being written at the peak of a step.
        let least = mib(planned - checkpoint) * 0.9;
        assert!(
            taken >= least,
            "{}: {taken:.0} MiB resident, at least {least:.0} planned",
            case.name
        );
    }
}

/// Trains two steps, so that moments and activations exist at the same time.
fn run(case: &Case) -> Measured {
    let desk = Desk::new();
    let [hidden, intermediate, layers, heads, key_value_heads, vocabulary] = case.model;
    desk.write(
        "model.toml",
        &format!(
            "hidden_size = {hidden}\nintermediate_size = {intermediate}\nnum_hidden_layers = {layers}\n\
             num_attention_heads = {heads}\nnum_key_value_heads = {key_value_heads}\nvocab_size = {vocabulary}\n\
             max_position_embeddings = 4096\ntie_word_embeddings = {}\n",
            case.tied
        ),
    );
    let sets = [
        format!("train.max_seq_len={}", case.row_length),
        format!("train.micro_batch_rows={}", case.rows),
        format!("train.global_batch_size={}", case.conversations),
        format!("run.memory.limit_gib={}", case.limit),
        "train.max_steps=2".to_owned(),
        "train.epochs=100".to_owned(),
        // The copy for the first checkpoint exists during the second step.
        "train.save_every=1".to_owned(),
        "data.train=[{ dataset = \"demo\", split = \"train\", cap = 200 }]".to_owned(),
        "eval.benchmarks=[]".to_owned(),
    ];
    let mut child = Command::new(env!("CARGO_BIN_EXE_uner"))
        .args(["train", "--recipe", "tiny"])
        .args(sets.iter().flat_map(|set| ["--set", set]))
        .current_dir(desk.path(""))
        .env("NO_COLOR", "1")
        .stdout(Stdio::null())
        .stderr(fs_err::File::create(desk.path("talk")).unwrap().into_parts().0)
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0;
    // The kernel's high-water mark: the next reading has peaks between two readings.
    let exit = loop {
        if let Ok(text) = fs_err::read_to_string(&status) {
            peak = high_water(&text).unwrap_or(peak);
        }
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let talk = desk.read("talk");
    assert!(exit.success(), "{}: {talk}", case.name);
    let value = |name: &str| {
        let line = talk.lines().find_map(|line| line.trim_start().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no `{name}` in {talk}")).trim().to_owned()
    };
    let [planned, checkpoint] = ["in all", "checkpoint"].map(|name| bytes(&value(name)));
    Measured { planned, checkpoint, recomputed: recomputed(&value("layout")), peak }
}

/// `activations of 2 of 4 blocks recomputed` to `2 of 4 blocks`.
fn recomputed(layout: &str) -> String {
    let (_, rest) = layout.split_once("activations of ").unwrap();
    rest.split_once(" recomputed").unwrap().0.to_owned()
}

/// `12.3 MiB` to bytes.
fn bytes(text: &str) -> f64 {
    let (number, unit) = text.split_once(' ').unwrap();
    let unit = match unit {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => panic!("`{other}`"),
    };
    number.parse::<f64>().unwrap() * f64::from(unit)
}

fn high_water(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}
