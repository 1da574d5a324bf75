//! Training steps of a LLaMA with random weights, full or with an adapter, through the loop that
//! runs train by, in the layout that the plan chooses; `pytorch_steps.py` is its twin.
//!
//! ```text
//! cargo bench -p uner-benches --bench steps -- --device cuda:0 --preset 7b|tiny
//!     --mode full|lora [--seq 2048] [--rows 8] [--steps 20] [--memory-gib N]
//! ```
//! trains on rows of `seq` random tokens, all of them trained, `rows` of them a step.
//! `--conversations FILE --batch N` trains on the conversations of `FILE` instead, `N` of them a
//! step, packed into rows of `seq`. `--encode FILE --shared DIR [--count N] [--longest 1024]`
//! writes that file from the shared data and computes nothing else.
//!
//! `--profile` times every op of three steps instead, and prints a line for each.
//!
//! Prints a line of JSON with the plan (bytes by category, the layout) before the first step, and
//! behind every step that counts one of all of them so far: the last line is the result, also of a
//! run that was cut off. `--memory-gib` plans with less than the device has.

mod conversations;
mod layout;
mod model;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use uner_benches::{argument, train_config};
use uner_kernels::device::DeviceName;
use uner_kernels::profile::OpTime;
use uner_model::LlamaConfig;
use uner_plan::cost::{Layout, Setup};
use uner_trainer::run::{Profile, profile};
use uner_trainer::{
    Callbacks, Event, Group, Progress, Run, StepMetrics, TokenStore, TrainConfig, TrainError, train,
};

use layout::Planned;

/// That of the binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps before those that count: kernels are compiled and tuned in them, and memory is taken.
const WARM_UP: usize = 3;
/// Steps that `--profile` times.
const PROFILED: u64 = 3;
const SEED: u64 = 0;
/// What the listener ends the run with.
const MEASURED: &str = "all steps are measured";

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Full,
    Lora,
}

/// What a run is made of.
struct Task {
    name: DeviceName,
    preset: String,
    mode: Mode,
    model: LlamaConfig,
    config: TrainConfig,
    store: TokenStore,
    steps: usize,
    started: Instant,
}

/// The steps that count so far.
struct Done<'a> {
    steps: &'a [StepMetrics],
    /// From the start of the program to the end of the first step: planning, weights, compiling and
    /// tuning.
    first_step_seconds: f64,
}

fn number(name: &str, default: usize) -> usize {
    argument(name).map_or(default, |value| {
        value.parse().unwrap_or_else(|_| panic!("{name} {value}: a number"))
    })
}

impl Task {
    fn of_arguments(scratch: &Path, started: Instant) -> Self {
        let preset = argument("--preset").unwrap_or_else(|| "tiny".to_owned());
        let model = model::config(&preset);
        let mode = match argument("--mode").as_deref() {
            None | Some("full") => Mode::Full,
            Some("lora") => Mode::Lora,
            Some(other) => panic!("--mode {other}: it must be `full` or `lora`"),
        };
        let (seq, rows) = (number("--seq", 2048), number("--rows", 8));
        let (store, batch) = match argument("--conversations") {
            Some(file) => {
                (conversations::read(Path::new(&file), scratch, seq), number("--batch", 64))
            }
            None => (conversations::full_rows(rows, seq, model.vocab_size, scratch), rows),
        };
        let steps = number("--steps", 20);
        let config = TrainConfig {
            epochs: 1e6,
            // A run saves behind its last step, which is therefore never reached.
            max_steps: Some((WARM_UP + steps + 1) as u64),
            save_every: u64::MAX,
            ..train_config(batch, seq, 1)
        };
        let name = argument("--device").unwrap_or_else(|| "flex".to_owned());
        let name = name.parse().unwrap_or_else(|error| panic!("--device: {error}"));
        Self { name, preset, mode, model, config, store, steps, started }
    }

    /// Rows of a step, as the plan counts them.
    fn step_rows(&self) -> usize {
        let summary = self.store.summary();
        let mean = summary.tokens as f64 / summary.conversations as f64;
        (mean * self.config.global_batch_size as f64 / self.config.max_seq_len as f64).ceil()
            as usize
    }

    /// Does something with a run of this layout and the model that it begins with.
    fn run<T>(&self, scratch: &Path, layout: Layout, work: impl FnOnce(&Run, Progress) -> T) -> T {
        let device = self.name.open_for_training().unwrap_or_else(|error| panic!("{error}"));
        let config =
            TrainConfig { micro_batch_rows: layout.micro_batch_rows, ..self.config.clone() };
        let run = Run {
            config: &config,
            model_config: &self.model,
            seed: SEED,
            store: &self.store,
            validation: None,
            kept_blocks: layout.kept_blocks,
            folder: scratch,
            companions: &[],
            callbacks: Callbacks::default(),
            deterministic: false,
            group: &Group::alone(),
        };
        let progress = Progress::new(model::random(&self.model, self.mode, &device), run.group);
        // What building the model left behind.
        device.memory_cleanup();
        work(&run, progress)
    }

    /// Warm-up and the steps that count; `print` is given these behind each of them.
    fn train(&self, run: &Run, progress: Progress, print: impl Fn(&Done)) {
        let gauge = self.name.memory_gauge();
        let mut done: Vec<StepMetrics> = Vec::new();
        let mut first_step_seconds = None;
        let result = train(run, progress, &mut |event| {
            if let Event::Step(metrics) = event {
                let memory = gauge.as_ref().map(|read| read());
                done.push(StepMetrics {
                    memory_in_use: memory.map(|memory| memory.in_use),
                    memory_reserved: memory.map(|memory| memory.reserved),
                    ..metrics.clone()
                });
                let first_step_seconds =
                    *first_step_seconds.get_or_insert_with(|| self.started.elapsed().as_secs_f64());
                if done.len() > WARM_UP {
                    print(&Done { steps: &done[WARM_UP..], first_step_seconds });
                }
            }
            if done.len() == WARM_UP + self.steps {
                return Err(TrainError::Io(io::Error::other(MEASURED)));
            }
            Ok(ControlFlow::Continue(()))
        });
        match result {
            Err(TrainError::Io(error)) if error.to_string() == MEASURED => {}
            Err(error) => panic!("{error}"),
            Ok(_) => {
                panic!("the run has {} steps, and {} were to be measured", done.len(), self.steps)
            }
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The line of the steps that count.
fn result(task: &Task, planned: &Planned, done: &Done) -> serde_json::Value {
    let steps = done.steps;
    let sum = |of: fn(&StepMetrics) -> f64| steps.iter().map(of).sum::<f64>();
    let seconds = sum(|step| step.seconds);
    let each: Vec<f64> = steps.iter().map(|step| step.seconds).collect();
    let part = |of: fn(&StepMetrics) -> f64| median(steps.iter().map(of).collect());
    let largest = |of: fn(&StepMetrics) -> Option<u64>| steps.iter().filter_map(of).max();
    let last = &steps[steps.len() - 1];
    json!({
        "what": "steps",
        "variant": "uner",
        "device": task.name.to_string(),
        "preset": task.preset,
        "mode": format!("{:?}", task.mode).to_lowercase(),
        "seq": task.config.max_seq_len,
        "micro_batch_rows": planned.layout().micro_batch_rows,
        "kept_blocks": planned.layout().kept_blocks,
        "first_step_seconds": done.first_step_seconds,
        "steps": steps.len(),
        "tokens": sum(|step| step.tokens as f64),
        "trained_tokens": sum(|step| step.trained_tokens as f64),
        "rows": sum(|step| step.rows as f64),
        "seconds": seconds,
        "step_seconds": each,
        "median_step_seconds": median(each.clone()),
        // Of the median step, where all have as many tokens; of all steps together, where they
        // differ.
        "tokens_per_second": part(|step| step.tokens_per_second),
        "trained_tokens_per_second": sum(|step| step.trained_tokens as f64) / seconds,
        "flops_per_second": part(|step| step.flops / step.seconds),
        "matmul_flops_per_second": planned.speed.rates.matmul,
        "forward_seconds": part(|step| step.breakdown.forward),
        "backward_seconds": part(|step| step.breakdown.backward),
        "optimizer_seconds": part(|step| step.breakdown.optimizer),
        "data_wait_seconds": part(|step| step.data_wait_seconds),
        "planned_bytes": planned.choice.memory.total(),
        "in_use_bytes": largest(|step| step.memory_in_use),
        "reserved_bytes": largest(|step| step.memory_reserved),
        "last_loss": last.loss,
    })
}

/// The line of an op: of one step, as a mean.
fn op_line(op: &OpTime, of: &Profile) -> serde_json::Value {
    json!({
        "what": "op",
        "op": op.op,
        "pass": format!("{:?}", op.pass).to_lowercase(),
        "calls": op.calls,
        "seconds": op.seconds,
        "flops_per_second": op.flops / op.seconds,
        "step_seconds": of.seconds,
        "other_seconds": of.other,
    })
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() {
    let started = Instant::now();
    uner_cli::allocator::keep_freed_memory();
    if let Some(file) = argument("--encode") {
        let shared = argument("--shared").expect("--shared names the folder of the shared data");
        let (count, longest) = (number("--count", 1024), number("--longest", 1024));
        println!(
            "{}",
            conversations::encode_shared(Path::new(&shared), Path::new(&file), count, longest)
        );
        return;
    }
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let task = Task::of_arguments(scratch.path(), started);
    let summary = task.store.summary();
    let setup = Setup {
        row_length: task.config.max_seq_len,
        step_rows: task.step_rows(),
        trained_share: summary.trained_tokens as f64 / summary.tokens as f64,
        ..layout::setup(task.name, &task.model, task.mode)
    };
    let limit =
        argument("--memory-gib").map(|gib| gib.parse().expect("--memory-gib: a number of GiB"));
    let planned = layout::plan(task.name, &setup, limit);
    println!("{}", planned.line());
    task.run(scratch.path(), planned.layout(), |run, progress| {
        if std::env::args().any(|argument| argument == "--profile") {
            let found = profile(run, progress, PROFILED).unwrap_or_else(|error| panic!("{error}"));
            found.ops.iter().for_each(|op| println!("{}", op_line(op, &found)));
            return;
        }
        task.train(run, progress, |done| println!("{}", result(&task, &planned, done)));
    });
}
