//! Measures training steps of a LLaMA with random weights, full or with an adapter, through the
//! training loop of real runs and in the layout of the plan. `pytorch_steps.py` is the counterpart.
//!
//! ```text
//! cargo bench -p uner-benches --bench steps -- --device cuda:0 --preset 7b|tiny
//!     --mode full|lora [--seq 2048] [--rows 8] [--steps 20] [--memory-gib N]
//! ```
//! trains on rows of `seq` random tokens, all of them trained, with `rows` rows per step.
//! `--conversations FILE --batch N` trains on the conversations of `FILE` instead, `N` per step,
//! packed into rows of `seq`. `--encode FILE --shared DIR [--count N] [--longest 1024]` only writes
//! that file from the shared data.
//!
//! `--profile` times every op of three steps instead, and prints a line for each.
//!
//! Prints a line of JSON with the plan (bytes by category, the layout) before the first step. After
//! every measured step it prints a line for all measured steps so far, so the last line is the
//! result, also of a run that was cut off. `--memory-gib` plans with less memory than the device
//! has.

mod conversations;
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
use uner_plan::cost::{Choice, Layout, OnFrozen, Workload, choose};
use uner_plan::machine::{Devices, Machine, Ranks};
use uner_trainer::run::{Profile, profile};
use uner_trainer::{
    Event, Group, MicroBatchRows, Run, StepMetrics, TokenStore, TrainConfig, TrainError,
    TrainState, train,
};

/// The binaries' allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of steps before the measured ones, which compile and tune kernels and allocate memory.
const WARM_UP: usize = 3;
/// Number of steps that `--profile` times.
const PROFILED: u64 = 3;
const SEED: u64 = 0;
/// The error with which the listener ends the run.
const MEASURED: &str = "all steps are measured";

/// Whether the whole model or an adapter is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Full,
    Lora,
}

/// The parts of a run.
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

/// A layout and the machine that it was chosen for.
struct Planned {
    choice: Choice,
    machine: Machine,
}

impl Planned {
    fn line(&self) -> serde_json::Value {
        let Self { choice: Choice { layout, memory }, machine } = self;
        json!({
            "what": "plan",
            "micro_batch_rows": layout.micro_batch_rows,
            "recomputed_blocks": layout.recomputed_blocks,
            "bytes": memory,
            "total_bytes": memory.total(),
            "usable_bytes": machine.memory.usable,
            "matmul_flops_per_second": machine.rates.fastest(),
            "bytes_per_second": machine.rates.memory,
        })
    }
}

/// The measured steps so far.
struct Done<'a> {
    steps: &'a [StepMetrics],
    /// Seconds from the start of the program to the end of the first step: planning, weights,
    /// compiling and tuning.
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
        let model = uner_benches::random::config(&preset);
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
            // A run saves after its last step, so the last step is never reached.
            max_steps: Some((WARM_UP + steps + 1) as u64),
            save_every: u64::MAX,
            ..train_config(batch, seq)
        };
        let name = argument("--device").unwrap_or_else(|| "flex".to_owned());
        let name = name.parse().unwrap_or_else(|error| panic!("--device: {error}"));
        Self { name, preset, mode, model, config, store, steps, started }
    }

    /// Number of rows in a step, as the plan counts them.
    fn step_rows(&self) -> usize {
        let summary = self.store.summary();
        let mean = summary.tokens as f64 / summary.conversations as f64;
        (mean * self.config.global_batch_size as f64 / self.config.max_seq_len as f64).ceil()
            as usize
    }

    /// Inspects the device and chooses a layout.
    ///
    /// # Panics
    /// When no layout fits; the message has the bytes of the smallest.
    fn plan(&self) -> Planned {
        let summary = self.store.summary();
        let adapter = OnFrozen { adapter: &model::ADAPTER, base: None };
        let work = Workload {
            adapter: (self.mode == Mode::Lora).then_some(adapter),
            step_rows: self.step_rows(),
            trained_share: summary.trained_tokens as f64 / summary.tokens as f64,
            ..Workload::on(self.name, &self.model, self.config.max_seq_len)
        };
        let limit = argument("--memory-gib");
        let limit = limit.map(|gib| gib.parse().expect("--memory-gib: a number of GiB"));
        let devices: Devices = self.name.to_string().parse().expect("a device");
        let ranks = Ranks::of_one_process(&devices);
        let machine = Machine::detect(&devices, limit, &self.model, ranks);
        let (rates, usable) = (&machine.rates, machine.memory.usable);
        let choice = choose(&work, MicroBatchRows::Auto, rates, usable).unwrap_or_else(|least| {
            panic!("nothing fits {usable} bytes; the least would be {}", least.memory.total())
        });
        Planned { choice, machine }
    }

    /// Calls `work` with a run of this layout and its initial model.
    fn run<T>(
        &self,
        scratch: &Path,
        layout: Layout,
        work: impl FnOnce(&Run, TrainState) -> T,
    ) -> T {
        let device = self.name.open_for_training().unwrap_or_else(|error| panic!("{error}"));
        let group = Group::single();
        let models = (&self.config, &self.model);
        let run = Run { seed: SEED, layout, ..Run::new(models, &self.store, scratch, &group) };
        let state = TrainState::new(model::random(&self.model, self.mode, &device), run.group);
        // Frees the memory that building the model used.
        device.memory_cleanup();
        work(&run, state)
    }

    /// Runs the warm-up and the measured steps. Calls `print` with the latter after each of them.
    fn train(&self, run: &Run, state: TrainState, print: impl Fn(&Done)) {
        let gauge = self.name.memory_gauge();
        let mut done: Vec<StepMetrics> = Vec::new();
        let mut first_step_seconds = None;
        let result = train(run, state, &mut |event| {
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

/// Returns the line of the measured steps.
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
        "micro_batch_rows": planned.choice.layout.micro_batch_rows,
        "recomputed_blocks": planned.choice.layout.recomputed_blocks,
        "first_step_seconds": done.first_step_seconds,
        "steps": steps.len(),
        "tokens": sum(|step| step.tokens as f64),
        "trained_tokens": sum(|step| step.trained_tokens as f64),
        "rows": sum(|step| step.rows as f64),
        "seconds": seconds,
        "step_seconds": each,
        "median_step_seconds": median(each.clone()),
        // The median of the steps suits steps with equally many tokens. The rate of all steps
        // together suits steps that differ.
        "tokens_per_second": part(|step| step.tokens_per_second),
        "trained_tokens_per_second": sum(|step| step.trained_tokens as f64) / seconds,
        "flops_per_second": part(|step| step.flops / step.seconds),
        "matmul_flops_per_second": planned.machine.rates.fastest(),
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

/// Returns the line of an op: the mean of one step.
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
    let planned = task.plan();
    println!("{}", planned.line());
    task.run(scratch.path(), planned.choice.layout, |run, state| {
        if std::env::args().any(|argument| argument == "--profile") {
            let found = profile(run, state, PROFILED).unwrap_or_else(|error| panic!("{error}"));
            found.ops.iter().for_each(|op| println!("{}", op_line(op, &found)));
            return;
        }
        task.train(run, state, |done| println!("{}", result(&task, &planned, done)));
    });
}
