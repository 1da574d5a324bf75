//! `uner train`: a recipe, from data to scores.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Result, bail};
use uner_plan::human::duration;
use uner_plan::recipe::{self, Override};
use uner_plan::{Sources, missing_lines, sources};
use uner_run::{Notice, Options, dry_plan, guard_file, profile, refuse_too_much};
use uner_trainer::metrics::event::StepMetrics;
use uner_trainer::{Event, GuardAction, GuardReport};

use crate::Ending;
use crate::args::TrainArgs;
use crate::commands::eval::metered;
use crate::commands::{show_mask, train_tagger};
use crate::terminal::interrupt;
use crate::terminal::progress::Meter;

pub(crate) fn run(args: &TrainArgs, out: &mut dyn Write) -> Result<Ending> {
    let source = recipe::find(&args.recipe)?;
    if recipe::is_tagger(&source, &overrides(args)) {
        return train_tagger::run(&source, &overrides(args), args, out);
    }
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
        write!(out, "{}", profile(&sources, steps)?)?;
        return Ok(Ending::Done);
    }
    interrupt::watch()?;
    train(&sources, args, out)
}

/// The values of `--set`, and `--device`, which sets `run.device`.
fn overrides(args: &TrainArgs) -> Vec<Override> {
    let device = args
        .device
        .as_ref()
        .map(|name| format!("run.device={name}").parse().expect("a section and a name"));
    args.set.iter().cloned().chain(device).collect()
}

fn refuse_missing(sources: &Sources) -> Result<()> {
    let missing = missing_lines(sources.blocking());
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{}", missing.join("\n       "));
}

/// Trains, measures, and prints the scores and a command to try next.
fn train(sources: &Sources, args: &TrainArgs, out: &mut dyn Write) -> Result<Ending> {
    let Some(trained) = with_progress(args, |options| uner_run::train(sources, options))? else {
        return Ok(Ending::Interrupted);
    };
    if !trained.is_main() {
        return Ok(Ending::Done);
    }
    if let Some(report) = trained.measure(&mut metered())? {
        write!(out, "{}", report.terminal(false))?;
    }
    if sources.is_synthetic() {
        writeln!(
            out,
            "\nThe corpus is synthetic: the scores show that the pipeline works, and say nothing about real text."
        )?;
    }
    writeln!(out, "\nTry next:\n  {}", suggestion(sources, &sources.recipe.run.dir))?;
    Ok(Ending::Done)
}

/// Trains with a meter. `None` if it was interrupted.
pub(super) fn with_progress<T>(
    args: &TrainArgs,
    train: impl FnOnce(&Options) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let progress = Mutex::new(Progress::default());
    let options = Options {
        resume: args.resume.as_deref(),
        set: &args.set,
        check_determinism: args.check_determinism,
        notify: &|notice| progress.lock().expect("no panic while it is shown").show(&notice),
        interrupted: &interrupt::asked,
    };
    let trained = train(&options)?;
    let Progress { interrupted, .. } = progress.into_inner().expect("no panic while it is shown");
    let trained = trained.filter(|_| !interrupted);
    if trained.is_none() {
        tracing::warn!("interrupted and saved; go on with `--resume`");
    }
    Ok(trained)
}

/// Shows the progress of the training loop. An interrupt is deferred while it runs.
#[derive(Default)]
struct Progress {
    running: Option<Running>,
    /// Whether an interrupt came while the loop ran.
    interrupted: bool,
}

/// The training loop, from its first step on.
struct Running {
    meter: Meter,
    start: Instant,
    first: u64,
    total: u64,
}

impl Progress {
    fn show(&mut self, notice: &Notice) {
        match (notice, &mut self.running) {
            (Notice::Begins { step: first, total }, running) => {
                let meter = Meter::new(*first, Some(*total));
                let (first, total) = (*first, *total);
                *running = Some(Running { meter, start: Instant::now(), first, total });
                interrupt::defer();
            }
            (Notice::Event(event), Some(running)) => running.show(event),
            (Notice::Ends, _) => {
                self.interrupted = interrupt::stop_deferring();
                self.running = None;
            }
            (Notice::Event(_), None) => {}
        }
    }
}

impl Running {
    fn show(&mut self, event: &Event) {
        let Self { meter, start, first, total } = self;
        match event {
            Event::Step(step) => {
                // Includes saving and validating, as the rest of the run has them, too.
                let pace = start.elapsed().as_secs_f64() / (step.step - *first) as f64;
                meter.show(step.step, || step_line(step, pace * (*total - step.step) as f64));
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
    }
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
    format!("step {step}: {problem}; {done}; its conversations are in `{}`", guard_file(*step))
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
