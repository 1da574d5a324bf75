//! `uner train`: a recipe, from data to scores.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use uner_model::Llama;
use uner_trainer::metrics::event::StepMetrics;
use uner_trainer::{
    Callbacks, Event, Group, Interrupted, Run, Scoring, TrainError, TrainState, checkpoint,
};
use uner_trainer::{GuardAction, GuardReport};

use crate::Ending;
use crate::args::TrainArgs;
use crate::commands::eval;
use crate::model::adapter;
use crate::run::during;
use crate::run::guards;
use crate::run::lock::RunLock;
use crate::run::monitor::Monitor;
use crate::run::profile;
use crate::run::ranks::{Rank, Ranks, World, together};
use crate::run::run_folder;
use crate::run::show_mask;
use crate::run::start::{Resumed, detect_machine, initial_state};
use crate::terminal::interrupt;
use crate::terminal::progress::Meter;
use uner_plan::assemble::{Assembled, assemble, scratch};
use uner_plan::human::duration;
use uner_plan::machine::{MemorySource, Ranks as RankCount};
use uner_plan::plan::DataSize;
use uner_plan::recipe::{self, Override};
use uner_plan::{Plan, Sources, missing_lines, sources};

pub(crate) fn run(args: &TrainArgs, out: &mut dyn Write) -> Result<Ending> {
    let source = recipe::find(&args.recipe)?;
    let sources =
        sources::resolve(recipe::parse(&source, &overrides(args))?, &args.accept_licence)?;
    if args.dry_run {
        let plan = dry_plan(&sources)?;
        write!(out, "{}", plan.describe())?;
        for line in missing_lines(&sources.missing) {
            writeln!(out, "{:<12}{line}", "missing")?;
        }
        for default in recipe::defaults(&source, &overrides(args), &sources.recipe) {
            writeln!(out, "{:<12}{default}", "default")?;
        }
        refuse_too_much(&plan)?;
        let is_missing = args.strict && sources.blocking().next().is_some();
        return Ok(if is_missing { Ending::Missing } else { Ending::Done });
    }
    refuse_missing(&sources)?;
    if let Some(count) = args.show_mask {
        show_mask::show(&sources, count, out)?;
        return Ok(Ending::Done);
    }
    if let Some(steps) = args.profile {
        profile::run(&sources, steps, out)?;
        return Ok(Ending::Done);
    }
    interrupt::watch()?;
    start(&sources, args, out)
}

/// The values of `--set`, and `--device`, which sets `run.device`.
fn overrides(args: &TrainArgs) -> Vec<Override> {
    let device = args
        .device
        .as_ref()
        .map(|name| format!("run.device={name}").parse().expect("a section and a name"));
    args.set.iter().cloned().chain(device).collect()
}

/// The plan of a dry run. Counts the data if it exists.
fn dry_plan(sources: &Sources) -> Result<Plan> {
    let size = if sources.blocking().next().is_none() {
        let scratch = scratch()?;
        assemble(sources, scratch.path(), None)?.train.summary().into()
    } else {
        let expected = sources.recipe.data.expected_conversations;
        expected.map_or(DataSize::Unknown, |conversations| DataSize::Expected { conversations })
    };
    let machine = detect_machine(sources, RankCount::of_one_process(&sources.recipe.run.device));
    Ok(Plan::new(sources, size, machine, None))
}

fn refuse_missing(sources: &Sources) -> Result<()> {
    let missing = missing_lines(sources.blocking());
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{}", missing.join("\n       "));
}

/// Refuses a plan that does not fit the device. If the device's memory is only assumed, accepts it.
fn refuse_too_much(plan: &Plan) -> Result<()> {
    match plan.problem() {
        Some(problem) if plan.machine.memory.source != MemorySource::Assumed => bail!("{problem}"),
        _ => Ok(()),
    }
}

/// Runs this process's part of the run.
fn start(sources: &Sources, args: &TrainArgs, out: &mut dyn Write) -> Result<Ending> {
    let world = World::join()?;
    let ranks = world.ranks(&sources.recipe.run.device)?;
    start_ranks(sources, args, &ranks, out).inspect_err(|error| world.give_up(error))
}

fn start_ranks(
    sources: &Sources,
    args: &TrainArgs,
    ranks: &Ranks,
    out: &mut dyn Write,
) -> Result<Ending> {
    let Ranks { own: ranks, here } = ranks;
    let folder = &sources.recipe.run.dir;
    let is_main = ranks[0].group.is_main();
    ranks.iter().try_for_each(|rank| rank.device.open().map(drop))?;
    let resumed = match args.resume.as_deref() {
        Some(which) => Some(run_folder::to_resume(folder, which)?),
        None => None,
    };
    if resumed.is_none() && is_main {
        run_folder::refuse_second_run(folder)?;
        run_folder::refuse_other_folder(folder)?;
    }
    fs_err::create_dir_all(folder)?;
    let _lock = is_main.then(|| RunLock::hold(folder)).transpose()?;
    // A resumed run keeps its tokenizer, even if the original file has changed.
    let tokenizer = resumed.as_deref().map(run_folder::tokenizer).transpose()?;
    tracing::info!("encoding the data");
    let assembled = assemble(sources, folder, tokenizer)?;
    let then = resumed.as_deref().map(run_folder::plan).transpose()?;
    let count = RankCount { all: ranks[0].group.world_size(), here: *here };
    let plan = is_main.then(|| {
        let machine = detect_machine(sources, count);
        let had = then.as_ref().map(|plan| plan.layout);
        Plan::new(sources, assembled.train.summary().into(), machine, had)
    });
    if let Some(plan) = &plan {
        tracing::info!("{}", plan.describe().trim_end());
        refuse_too_much(plan)?;
    }
    let score = |during, model: &Llama| during::score(sources, during, &assembled, model);
    let during = sources.recipe.eval.during.as_ref();
    let scores = during.map(|during| (during.every, move |model: &Llama| score(during, model)));
    let scoring = scores.as_ref().map(|(every, score)| Scoring { every: *every, score });
    let job = Job {
        sources,
        plan: plan.as_ref(),
        resumed: resumed.as_deref().zip(then.as_ref()).map(|(path, then)| Resumed {
            path,
            then,
            set: &args.set,
        }),
        assembled: &assembled,
        callbacks: Callbacks { scoring, interrupted: Some(Interrupted(&interrupt::asked)) },
        check_determinism: args.check_determinism,
    };
    let Some(state) = together(ranks, |rank| job.train(rank))? else {
        tracing::warn!("interrupted and saved; go on with `--resume`");
        return Ok(Ending::Interrupted);
    };
    if is_main {
        let step = state.step;
        let model = to_measure(sources, state, &ranks[0].device.open()?)?;
        report(sources, &assembled, (step, &model), out)?;
    }
    Ok(Ending::Done)
}

/// Data that the ranks of a process share.
struct Job<'a> {
    sources: &'a Sources,
    /// The plan, on the process of rank 0.
    plan: Option<&'a Plan>,
    resumed: Option<Resumed<'a>>,
    assembled: &'a Assembled,
    callbacks: Callbacks<'a>,
    check_determinism: bool,
}

impl Job<'_> {
    /// One rank's part of the training; `None` when interrupted.
    fn train(&self, rank: &Rank) -> Result<Option<TrainState>> {
        let (sources, group) = (self.sources, &rank.group);
        let plan = self.agreed_plan(group)?;
        let recipe = &plan.recipe;
        let run = Run {
            seed: recipe.run.seed,
            validation: self.assembled.validation.as_ref(),
            layout: plan.layout,
            callbacks: self.callbacks,
            check_determinism: self.check_determinism,
            ..Run::new(
                (&recipe.train, &self.assembled.config),
                &self.assembled.train,
                &sources.recipe.run.dir,
                group,
            )
        };
        let device = rank.device.open_for_training()?;
        let state = initial_state((sources, &plan), &run, self.resumed, &device)?;
        if !group.is_main() {
            return Ok(follow(&run, state)?);
        }
        // Only once the run can begin: a refused run leaves the folder unchanged.
        let extra_files = run_folder::describe((sources, &plan), &self.assembled.tokenizer)?;
        let run = Run { extra_files: &extra_files, ..run };
        let tokenizer = &self.assembled.tokenizer;
        let monitor = Monitor::open(&run, &plan.machine, &state, rank.device, tokenizer)?;
        Ok(lead(&run, state, monitor)?)
    }

    /// Broadcasts the plan of rank 0, which knows its device: all ranks must use the same plan.
    fn agreed_plan(&self, group: &Group) -> Result<Plan> {
        let own = self.plan.map_or_else(Vec::new, |plan| plan.to_toml().into_bytes());
        let bytes = group.broadcast(own)?;
        Ok(Plan::parse(std::str::from_utf8(&bytes)?, "the plan of rank 0".as_ref())?)
    }
}

/// Trains to the end without output (all ranks but rank 0); `None` when interrupted.
fn follow(run: &Run, state: TrainState) -> Result<Option<TrainState>, TrainError> {
    let state = uner_trainer::train(run, state, &mut |_| Ok(asked_to_stop()))?;
    Ok((!run.is_unfinished(&state)).then_some(state))
}

fn asked_to_stop() -> ControlFlow<()> {
    if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Trains to the end, shows progress and records it (rank 0); `None` when interrupted.
fn lead(
    run: &Run,
    state: TrainState,
    mut monitor: Monitor,
) -> Result<Option<TrainState>, TrainError> {
    let (first, total) = (state.step, run.total_steps());
    let mut meter = Meter::new(first, Some(total));
    let start = std::time::Instant::now();
    interrupt::defer();
    let trained = uner_trainer::train(run, state, &mut |event| {
        match &monitor.write(event)? {
            Event::Step(step) => {
                // Includes saving and validating, as the rest of the run has them, too.
                let pace = start.elapsed().as_secs_f64() / (step.step - first) as f64;
                meter.show(step.step, || step_line(step, pace * (total - step.step) as f64));
            }
            Event::Guarded(report) => meter.say(&guard_line(report)),
            Event::Validated { step, loss } => {
                meter.say(&format!("step {step}: validation loss {loss:.4}"));
            }
            Event::Scored { step, score, .. } => {
                meter.say(&format!("step {step}: F1 {:.1} %", score * 100.0));
            }
            Event::Stopped { step, best_step } => meter.say(&stopped_line(*step, *best_step)),
            Event::Saved { step, path } => {
                meter.say(&format!("step {step}: saved `{}`", path.display()));
            }
            // Comes after the training.
            Event::Measured { .. } => {}
        }
        Ok(asked_to_stop())
    });
    let interrupted = interrupt::stop_deferring();
    drop(meter);
    let state = trained?;
    tracing::info!(
        "trained {} steps in {}",
        state.step - first,
        duration(start.elapsed().as_secs_f64())
    );
    Ok((!interrupted && !run.is_unfinished(&state)).then_some(state))
}

fn stopped_line(step: u64, best: Option<u64>) -> String {
    let best = best.map_or_else(
        || "no evaluation was finite".to_owned(),
        |best| format!("the best is step {best}"),
    );
    format!("step {step}: early stopping, `train.best.patience` is exhausted; {best}")
}

fn guard_line(report: &GuardReport) -> String {
    let done = match report.answer {
        GuardAction::Stop => "stopping",
        GuardAction::Skip => "the step is skipped",
        GuardAction::Ignore => "the step is applied anyway",
    };
    let GuardReport { step, problem, .. } = report;
    format!("step {step}: {problem}; {done}; its conversations are in `{}`", guards::file(*step))
}

fn step_line(step: &StepMetrics, left: f64) -> String {
    format!(
        "epoch {:.2}  loss {:.4}  gradient {:.2}  lr {:.2e}  {:.0} tokens/s{}  {} left",
        step.epoch,
        step.loss,
        step.grad_norm,
        step.lr,
        step.tokens_per_second,
        utilisation(step),
        duration(left)
    )
}

/// MFU if the device's peak is known, else the share of its measured rate.
fn utilisation(step: &StepMetrics) -> String {
    let percent = |name: &str, share: f64| format!("  {name} {:.0} %", 100.0 * share);
    let mfu = step.mfu.map(|share| percent("MFU", share));
    let matmul = || step.matmul_utilization.map(|share| percent("matmul utilization", share));
    mfu.or_else(matmul).unwrap_or_default()
}

/// The model to measure: the best if the recipe compares them (`train.best`), else the last.
fn to_measure(sources: &Sources, state: TrainState, device: &Device) -> Result<Llama> {
    let folder = &sources.recipe.run.dir;
    let best = if sources.recipe.train.best.is_some() { checkpoint::best(folder)? } else { None };
    let is_last = state.best_tracker.best.is_none_or(|best| best.step == state.step);
    // Drops this model before another is read: both may not fit.
    let (which, path) = match (best, state.model.into_unsharded()) {
        (Some(best), _) if !is_last => ("best", best),
        (_, Some(model)) => return Ok(model),
        // Its blocks are sharded over ranks that have ended, but the run has written a checkpoint.
        (_, None) => {
            ("last", checkpoint::latest(folder)?.context("the run has no checkpoint to measure")?)
        }
    };
    tracing::info!("measuring the {which} checkpoint, `{}`", path.display());
    Ok(uner_model::folder::load(&path, adapter::base(sources), device)?.1)
}

/// Measures the trained model, prints and writes the scores, and prints a command to try next.
fn report(
    sources: &Sources,
    assembled: &Assembled,
    (step, model): (u64, &Llama),
    out: &mut dyn Write,
) -> Result<()> {
    let benchmarks = &sources.recipe.eval.benchmarks;
    let folder = &sources.recipe.run.dir;
    if !benchmarks.is_empty() {
        let predictor = assembled.predictor(model, sources)?;
        let root = &sources.recipe.data.root;
        let report =
            eval::measure_into(folder, &predictor, benchmarks, root, Some(&assembled.seen), false)?;
        run_folder::record_scores(folder, step, &report)?;
        write!(out, "{}", report.terminal(false))?;
    }
    if sources.is_synthetic() {
        writeln!(
            out,
            "\nThe corpus is synthetic: the scores show that the pipeline works, and say nothing about real text."
        )?;
    }
    writeln!(out, "\nTry next:\n  {}", suggestion(sources, folder))?;
    Ok(())
}

/// A command that asks the new model something it should know.
fn suggestion(sources: &Sources, folder: &Path) -> String {
    let (text, types) = example(sources)
        .unwrap_or_else(|| ("Tim Cook runs Apple.".to_owned(), "person,organization".to_owned()));
    let folder = folder.to_string_lossy();
    format!(
        "{} predict --model {} --text {} --types {}",
        program(),
        quoted(&folder),
        quoted(&text),
        quoted(&types)
    )
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "/._-+:@%".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The command for `uner`: the program next to this one, or cargo if it is not built yet.
fn program() -> String {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name("uner"));
    match beside.filter(|program| program.is_file()) {
        Some(program) => quoted(&program.to_string_lossy()),
        None => "cargo run --release --bin uner --".to_owned(),
    }
}

/// A text with several types, from the first benchmark or the training data.
fn example(sources: &Sources) -> Option<(String, String)> {
    let root = &sources.recipe.data.root;
    let benchmark = sources.recipe.eval.benchmarks.iter().zip(&sources.benchmarks).next();
    let (dataset, split) = match benchmark {
        Some((benchmark, dataset)) => (dataset, benchmark.split.as_str()),
        None => (sources.train.first()?, sources.recipe.data.train.first()?.split.as_str()),
    };
    let examples = uner_data::read(dataset, split, root).ok()?;
    let found = examples
        .take(50)
        .filter_map(Result::ok)
        .max_by_key(|example| example.queries.len().min(3))?;
    Some((found.text, found.queries.join(",")))
}
