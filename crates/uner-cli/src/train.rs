//! `uner train`: a recipe, from data to scores.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use uner_data::mix;
use uner_eval::SeenMentions;
use uner_model::Llama;
use uner_plan::cost::Layout;
use uner_trainer::config::AUTO;
use uner_trainer::metrics::event::StepMetrics;
use uner_trainer::{Answer, GuardReport};
use uner_trainer::{
    Callbacks, Event, Group, Interrupted, Progress, Run, Scoring, TrainConfig, TrainError,
    checkpoint,
};

use crate::args::TrainArgs;
use crate::assemble::{Assembled, assemble, scratch};
use crate::lock::RunLock;
use crate::monitor::Monitor;
use crate::progress::Meter;
use crate::ranks::{Rank, Ranks, World, together};
use crate::start::{Resumed, begin};
use crate::{Ending, adapter, during, eval, guards, interrupt, mask, profile, run_folder};
use uner_plan::human::duration;
use uner_plan::plan::{self, DataSize, Numbers, Plan, RankCount, missing_lines};
use uner_plan::recipe::{self, Override};

pub(crate) fn run(args: &TrainArgs, out: &mut dyn Write) -> Result<Ending> {
    let source = recipe::find(&args.recipe)?;
    let plan = plan::resolve(recipe::parse(&source, &overrides(args))?, &args.accept_licence)?;
    if args.dry_run {
        let numbers = dry_numbers(&plan)?;
        write!(out, "{}", plan.describe(&numbers))?;
        for default in recipe::defaults(&source, &overrides(args), &plan.recipe) {
            writeln!(out, "{:<12}{default}", "default")?;
        }
        refuse_too_much(&numbers)?;
        let is_missing = args.strict && plan.blocking().next().is_some();
        return Ok(if is_missing { Ending::Missing } else { Ending::Done });
    }
    refuse_missing(&plan)?;
    if let Some(count) = args.show_mask {
        mask::show(&plan, count, out)?;
        return Ok(Ending::Done);
    }
    if let Some(steps) = args.profile {
        profile::run(&plan, steps, out)?;
        return Ok(Ending::Done);
    }
    interrupt::watch()?;
    start(&plan, args, out)
}

/// `--set`, and `--device`, which is short for one.
fn overrides(args: &TrainArgs) -> Vec<Override> {
    let device = args
        .device
        .as_ref()
        .map(|name| format!("run.device={name}").parse().expect("a section and a name"));
    args.set.iter().cloned().chain(device).collect()
}

/// The arithmetic of a run that is only planned: counted where the data is there.
fn dry_numbers(plan: &Plan) -> Result<Numbers> {
    let size = if plan.blocking().next().is_none() {
        let scratch = scratch()?;
        assemble(plan, scratch.path(), None)?.train.summary().into()
    } else {
        plan.recipe.data.expected_conversations.map_or(DataSize::Unknown, DataSize::Expected)
    };
    Ok(Numbers::new(plan, size, RankCount::of_one_process(plan)))
}

fn refuse_missing(plan: &Plan) -> Result<()> {
    let missing = missing_lines(plan.blocking());
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{}", missing.join("\n       "));
}

/// Refuses what does not fit a device that is here. Of one that is elsewhere the memory is only
/// assumed.
fn refuse_too_much(numbers: &Numbers) -> Result<()> {
    match numbers.problem() {
        Some(problem) if numbers.budget.known => bail!("{problem}"),
        _ => Ok(()),
    }
}

/// The numbers of a run that begins, or goes on: then with the micro-batches and the division of
/// blocks that it had, so that it is the uninterrupted one.
fn numbers(plan: &Plan, resumed: Option<&Path>, data: DataSize, ranks: RankCount) -> Numbers {
    let Some(had) = resumed.and_then(run_folder::state) else {
        return Numbers::new(plan, data, ranks);
    };
    let mut plan = plan.clone();
    let rows = &mut plan.recipe.train.micro_batch_rows;
    if *rows == AUTO {
        *rows = had.train.micro_batch_rows;
    }
    Numbers::new(&plan, data, RankCount { divided: had.divided, ..ranks })
}

/// Does this process's part of the run.
fn start(plan: &Plan, args: &TrainArgs, out: &mut dyn Write) -> Result<Ending> {
    let world = World::join()?;
    let ranks = world.ranks(&plan.recipe.run.device)?;
    start_ranks(plan, args, &ranks, out).inspect_err(|error| world.give_up(error))
}

fn start_ranks(
    plan: &Plan,
    args: &TrainArgs,
    ranks: &Ranks,
    out: &mut dyn Write,
) -> Result<Ending> {
    let Ranks { own: ranks, here } = ranks;
    let folder = &plan.recipe.run.dir;
    let is_first = ranks[0].group.is_first();
    ranks.iter().try_for_each(|rank| rank.device.open().map(drop))?;
    let resumed = match args.resume.as_deref() {
        Some(which) => Some(run_folder::to_resume(folder, which)?),
        None => None,
    };
    if resumed.is_none() && is_first {
        run_folder::refuse_second_run(folder)?;
        run_folder::refuse_other_folder(folder)?;
    }
    fs_err::create_dir_all(folder)?;
    let _lock = is_first.then(|| RunLock::hold(folder)).transpose()?;
    // A resumed run keeps its tokenizer, whatever became of the file it was read from.
    let tokenizer = resumed.as_deref().map(run_folder::tokenizer).transpose()?;
    tracing::info!("encoding the data");
    let assembled = assemble(plan, folder, tokenizer)?;
    let count = RankCount { all: ranks[0].group.world_size(), here: *here, divided: false };
    let numbers = numbers(plan, resumed.as_deref(), assembled.train.summary().into(), count);
    if is_first {
        tracing::info!("{}", plan.describe(&numbers).trim_end());
    }
    refuse_too_much(&numbers)?;
    let score = |during, model: &Llama| during::score(plan, during, &assembled, model);
    let during = plan.recipe.eval.during.as_ref();
    let scores = during.map(|during| (during.every, move |model: &Llama| score(during, model)));
    let scoring = scores.as_ref().map(|(every, score)| Scoring { every: *every, score });
    let job = Job {
        plan,
        resumed: resumed.as_deref().map(|path| Resumed { path, set: &args.set }),
        assembled: &assembled,
        layout: numbers.choice.layout,
        callbacks: Callbacks { scoring, interrupted: Some(Interrupted(&interrupt::asked)) },
        deterministic: args.deterministic,
    };
    let Some(progress) = together(ranks, |rank| job.train(rank))? else {
        tracing::warn!("interrupted and saved; go on with `--resume`");
        return Ok(Ending::Interrupted);
    };
    if is_first {
        let step = progress.step;
        let model = to_measure(plan, progress, &ranks[0].device.open()?)?;
        report(plan, &assembled, (step, &model), out)?;
    }
    Ok(Ending::Done)
}

/// What the ranks of a process share.
struct Job<'a> {
    plan: &'a Plan,
    resumed: Option<Resumed<'a>>,
    assembled: &'a Assembled,
    layout: Layout,
    callbacks: Callbacks<'a>,
    deterministic: bool,
}

impl Job<'_> {
    /// One rank's part of the training; `None` when interrupted.
    fn train(&self, rank: &Rank) -> Result<Option<Progress>> {
        let plan = self.plan;
        let Layout { micro_batch_rows, kept_blocks, divided } = self.agreed_layout(&rank.group)?;
        let config = TrainConfig { micro_batch_rows, ..plan.recipe.train.clone() };
        let run = Run {
            config: &config,
            model_config: &self.assembled.config,
            seed: plan.recipe.run.seed,
            store: &self.assembled.train,
            validation: self.assembled.validation.as_ref(),
            kept_blocks,
            folder: &plan.recipe.run.dir,
            companions: &[],
            callbacks: self.callbacks,
            deterministic: self.deterministic,
            group: &rank.group,
        };
        let device = rank.device.open_for_training()?;
        let mut progress = begin(plan, &run, self.resumed, &device)?;
        if divided {
            progress = progress.divide(&self.assembled.config, &rank.group);
        }
        if !rank.group.is_first() {
            return Ok(follow(&run, progress)?);
        }
        // Not before it is clear that the run can begin: a refused one leaves the folder as it was.
        let companions = run_folder::describe(plan, &self.assembled.tokenizer)?;
        let run = Run { companions: &companions, ..run };
        let monitor =
            Monitor::open(&run, &progress, (rank.device, &device), &self.assembled.tokenizer)?;
        Ok(lead(&run, progress, monitor)?)
    }

    /// The layout that the first rank has chosen from its memory: ranks share out micro-batches, so
    /// these have to be the same.
    fn agreed_layout(&self, group: &Group) -> Result<Layout> {
        let Layout { micro_batch_rows, kept_blocks, divided } = self.layout;
        let own = [micro_batch_rows, kept_blocks, usize::from(divided)];
        let own = own.map(|number| if group.is_first() { number as f64 } else { 0.0 });
        let [micro_batch_rows, kept_blocks, divided] =
            group.total(own)?.map(|number| number as usize);
        Ok(Layout { micro_batch_rows, kept_blocks, divided: divided > 0 })
    }
}

/// Trains to the end without a word; `None` when interrupted.
fn follow(run: &Run, progress: Progress) -> Result<Option<Progress>, TrainError> {
    let progress = uner_trainer::train(run, progress, &mut |_| Ok(asked_to_stop()))?;
    Ok((!run.is_unfinished(&progress)).then_some(progress))
}

fn asked_to_stop() -> ControlFlow<()> {
    if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Trains to the end and tells of it; `None` when interrupted.
fn lead(
    run: &Run,
    progress: Progress,
    mut monitor: Monitor,
) -> Result<Option<Progress>, TrainError> {
    let (first, total) = (progress.step, run.total_steps());
    let mut meter = Meter::new(first, total);
    let start = std::time::Instant::now();
    interrupt::defer();
    let trained = uner_trainer::train(run, progress, &mut |event| {
        match &monitor.write(event)? {
            Event::Step(step) => {
                // Saving and validating included, as the rest of the run will have them too.
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
            // After the training.
            Event::Measured { .. } => {}
        }
        Ok(asked_to_stop())
    });
    let interrupted = interrupt::stop_deferring();
    drop(meter);
    let progress = trained?;
    tracing::info!(
        "trained {} steps in {}",
        progress.step - first,
        duration(start.elapsed().as_secs_f64())
    );
    Ok((!interrupted && !run.is_unfinished(&progress)).then_some(progress))
}

fn stopped_line(step: u64, best: Option<u64>) -> String {
    let best = best.map_or_else(
        || "none was good".to_owned(),
        |best| format!("the best is that of step {best}"),
    );
    format!("step {step}: stopped, `train.best.patience` is at its end; {best}")
}

fn guard_line(report: &GuardReport) -> String {
    let done = match report.answer {
        Answer::Stop => "stopping",
        Answer::Skip => "the step is skipped",
        Answer::Ignore => "the step is applied all the same",
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
        step.mfu.map(|mfu| format!("  MFU {:.0} %", 100.0 * mfu)).unwrap_or_default(),
        duration(left)
    )
}

/// The model that the run is for: the best, where the recipe compares them, else the last.
fn to_measure(plan: &Plan, progress: Progress, device: &Device) -> Result<Llama> {
    let folder = &plan.recipe.run.dir;
    let best = if plan.recipe.train.best.is_some() { checkpoint::best(folder)? } else { None };
    let is_last = progress.standing.best.is_none_or(|best| best.step == progress.step);
    // Before another model is read, this one is let go: both may not fit.
    let (which, path) = match (best, progress.model.into_whole()) {
        (Some(best), _) if !is_last => ("best", best),
        (_, Some(model)) => return Ok(model),
        // Its blocks are divided among ranks that are gone; the run has ended with a checkpoint.
        (_, None) => {
            ("last", checkpoint::latest(folder)?.context("the run has no checkpoint to measure")?)
        }
    };
    tracing::info!("measuring the {which} checkpoint, `{}`", path.display());
    Ok(checkpoint::load_model_onto(&path, adapter::base(plan), device)?.1)
}

/// Measures the trained model, prints and writes the scores, and says what to try next.
fn report(
    plan: &Plan,
    assembled: &Assembled,
    (step, model): (u64, &Llama),
    out: &mut dyn Write,
) -> Result<()> {
    let benchmarks = &plan.recipe.eval.benchmarks;
    let folder = &plan.recipe.run.dir;
    if !benchmarks.is_empty() {
        let predictor = assembled.predictor(model, plan)?;
        let seen = seen(plan)?;
        let root = &plan.recipe.data.root;
        let report = eval::measure_into(folder, &predictor, benchmarks, root, Some(&seen), false)?;
        run_folder::record_scores(folder, step, &report)?;
        write!(out, "{}", report.terminal())?;
    }
    if plan.is_synthetic() {
        writeln!(
            out,
            "\nThe corpus is synthetic: the scores show that the pipeline works, and say nothing about real text."
        )?;
    }
    writeln!(out, "\nTry next:\n  {}", suggestion(plan, folder))?;
    Ok(())
}

/// The mentions of the training data.
fn seen(plan: &Plan) -> Result<SeenMentions> {
    let mut seen = SeenMentions::default();
    for item in mix(&plan.recipe.data.train, &plan.recipe.data.root, plan.recipe.run.seed)? {
        seen.add(&item?.1);
    }
    Ok(seen)
}

/// A command that asks the new model something it should know.
fn suggestion(plan: &Plan, folder: &Path) -> String {
    let (text, types) = example(plan)
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

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "/._-+:@%".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// How `uner` is called: it lies beside this program, or was not built yet.
fn program() -> String {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name("uner"));
    match beside.filter(|program| program.is_file()) {
        Some(program) => quoted(&program.to_string_lossy()),
        None => "cargo run --release --bin uner --".to_owned(),
    }
}

/// A text with several types, from the first benchmark or the training data.
fn example(plan: &Plan) -> Option<(String, String)> {
    let root = &plan.recipe.data.root;
    let benchmark = plan.recipe.eval.benchmarks.iter().zip(&plan.benchmarks).next();
    let (dataset, split) = match benchmark {
        Some((benchmark, dataset)) => (dataset, benchmark.split.as_str()),
        None => (plan.train.first()?, plan.recipe.data.train.first()?.split.as_str()),
    };
    let examples = uner_data::read(dataset, split, root).ok()?;
    let found = examples
        .take(50)
        .filter_map(Result::ok)
        .max_by_key(|example| example.queries.len().min(3))?;
    Some((found.text, found.queries.join(",")))
}
