//! `uner train`: a recipe, from data to scores.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Result, bail};
use burn::tensor::Device;
use uner_data::mix;
use uner_eval::SeenMentions;
use uner_infer::{Generator, Predictor};
use uner_model::weights::random;
use uner_trainer::config::AUTO;
use uner_trainer::event::{MetricsWriter, StepMetrics};
use uner_trainer::memory::Layout;
use uner_trainer::run::Progress;
use uner_trainer::{AdamW, Event, Run, TrainConfig, TrainError, checkpoint};

use crate::args::TrainArgs;
use crate::assemble::{Assembled, assemble};
use crate::plan::{DataSize, Numbers, Plan};
use crate::progress::{Meter, duration};
use crate::recipe::{self, Override};
use crate::{Ending, eval, hub, interrupt, mask, run_folder};

pub(crate) fn run(args: &TrainArgs, out: &mut dyn Write) -> Result<Ending> {
    let source = recipe::find(&args.recipe)?;
    let plan = hub::resolve(recipe::parse(&source, &overrides(args))?, &args.accept_licence)?;
    if args.dry_run {
        let numbers = dry_numbers(&plan)?;
        write!(out, "{}", plan.describe(&numbers))?;
        refuse_too_much(&numbers)?;
        return Ok(Ending::Done);
    }
    refuse_missing(&plan)?;
    if let Some(count) = args.show_mask {
        mask::show(&plan, count, out)?;
        return Ok(Ending::Done);
    }
    interrupt::watch()?;
    start(&plan, args.resume.as_deref(), out)
}

/// `--set`, and `--device`, which is short for one.
fn overrides(args: &TrainArgs) -> Vec<Override> {
    let device = args.device.map(|name| format!("run.device={name}").parse().expect("a section and a name"));
    args.set.iter().cloned().chain(device).collect()
}

/// The arithmetic of a run that is only planned: counted where the data is there.
fn dry_numbers(plan: &Plan) -> Result<Numbers> {
    let size = if plan.blocking().next().is_none() {
        let scratch = std::env::temp_dir();
        assemble(plan, &scratch, None)?.train.summary().into()
    } else {
        plan.recipe.data.expected_conversations.map_or(DataSize::Unknown, DataSize::Expected)
    };
    Ok(Numbers::new(plan, size))
}

fn refuse_missing(plan: &Plan) -> Result<()> {
    let missing: Vec<String> = plan.blocking().map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{}", missing.join("\n       "));
}

/// Refuses what does not fit a device that is here. Of one that is elsewhere the memory is only assumed.
fn refuse_too_much(numbers: &Numbers) -> Result<()> {
    match numbers.problem() {
        Some(problem) if numbers.budget.known => bail!("{problem}"),
        _ => Ok(()),
    }
}

/// The numbers of a run that begins, or goes on: then with the micro-batches that it had, so that it is the uninterrupted one.
fn numbers(plan: &Plan, resumed: Option<&Path>, data: DataSize) -> Numbers {
    let mut plan = plan.clone();
    let rows = &mut plan.recipe.train.micro_batch_rows;
    if *rows == AUTO
        && let Some(had) = resumed.and_then(run_folder::micro_batch_rows)
    {
        *rows = had;
    }
    Numbers::new(&plan, data)
}

fn start(plan: &Plan, resume: Option<&str>, out: &mut dyn Write) -> Result<Ending> {
    let folder = &plan.recipe.run.dir;
    let device = plan.recipe.run.device.open()?;
    let resumed = match resume {
        Some(which) => Some(run_folder::to_resume(folder, which)?),
        None => None,
    };
    if resumed.is_none() {
        run_folder::refuse_second_run(folder)?;
    }
    fs_err::create_dir_all(folder)?;
    // A resumed run keeps its tokenizer, whatever became of the file it was read from.
    let tokenizer = resumed.as_deref().map(run_folder::tokenizer).transpose()?;
    tracing::info!("encoding the data");
    let assembled = assemble(plan, folder, tokenizer)?;
    let numbers = numbers(plan, resumed.as_deref(), assembled.train.summary().into());
    tracing::info!("{}", plan.describe(&numbers).trim_end());
    refuse_too_much(&numbers)?;
    let Layout { micro_batch_rows, kept_blocks } = numbers.choice.layout;
    let config = TrainConfig { micro_batch_rows, ..plan.recipe.train.clone() };
    let run = Run {
        config: &config,
        model_config: &assembled.config,
        seed: plan.recipe.run.seed,
        store: &assembled.train,
        validation: assembled.validation.as_ref(),
        kept_blocks,
        folder,
        companions: &[],
    };
    let progress = begin(plan, &run, resumed.as_deref(), &device)?;
    // Not before it is clear that the run can begin: a refused one leaves the folder as it was.
    let companions = run_folder::describe(plan, &assembled.tokenizer)?;
    let Some(progress) = train(&Run { companions: &companions, ..run }, progress)? else {
        tracing::warn!("interrupted and saved; go on with `--resume`");
        return Ok(Ending::Interrupted);
    };
    report(plan, &assembled, &progress, out)?;
    Ok(Ending::Done)
}

/// The model at the start of the run, or where it was left.
fn begin(plan: &Plan, run: &Run, resumed: Option<&Path>, device: &Device) -> Result<Progress> {
    if let Some(path) = resumed {
        let found = checkpoint::load(path, device)?;
        found.state.check_resumable(&run.state(found.state.step), path)?;
        tracing::info!("resuming after step {}", found.state.step);
        return Ok(Progress { model: found.model, optimizer: found.optimizer, step: found.state.step });
    }
    let model = match &plan.model.folder {
        Some(folder) => checkpoint::load_model(folder, device)?.1,
        None => random(run.model_config, run.seed, device),
    };
    Ok(Progress { model, optimizer: AdamW::default(), step: 0 })
}

/// Trains to the end; `None` when interrupted.
fn train(run: &Run, progress: Progress) -> Result<Option<Progress>, TrainError> {
    let (first, total) = (progress.step, run.total_steps());
    let mut metrics = MetricsWriter::open(run.folder, first)?;
    let mut meter = Meter::new(first, total);
    let start = std::time::Instant::now();
    let mut interrupted = false;
    interrupt::defer();
    let trained = uner_trainer::train(run, progress, &mut |event| {
        metrics.write(event)?;
        match event {
            Event::Step(step) => meter.show(step.step, || step_line(step, total)),
            Event::Validated { step, loss } => meter.say(&format!("step {step}: validation loss {loss:.4}")),
            Event::Saved { step, path } => meter.say(&format!("step {step}: saved `{}`", path.display())),
        }
        interrupted = interrupt::asked();
        Ok(if interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    interrupt::stop_deferring();
    drop(meter);
    let progress = trained?;
    let unfinished = interrupted && progress.step < total;
    tracing::info!("trained {} steps in {}", progress.step - first, duration(start.elapsed().as_secs_f64()));
    Ok((!unfinished).then_some(progress))
}

fn step_line(step: &StepMetrics, total: u64) -> String {
    let left = (total - step.step) as f64 * step.seconds;
    format!(
        "epoch {:.2}  loss {:.4}  gradient {:.2}  lr {:.2e}  {:.0} tokens/s  {} left",
        step.epoch,
        step.loss,
        step.grad_norm,
        step.lr,
        step.tokens_per_second,
        duration(left)
    )
}

/// Measures the trained model, prints and writes the scores, and says what to try next.
fn report(plan: &Plan, assembled: &Assembled, progress: &Progress, out: &mut dyn Write) -> Result<()> {
    let benchmarks = &plan.recipe.eval.benchmarks;
    let folder = &plan.recipe.run.dir;
    if !benchmarks.is_empty() {
        let predictor = Predictor {
            generator: Generator { model: &progress.model, config: &assembled.config },
            tokenizer: &assembled.tokenizer,
            template: &plan.template,
            config: plan.recipe.infer,
        };
        let report = eval::measure(&predictor, benchmarks, &plan.recipe.data.root, Some(&seen(plan)?))?;
        run_folder::write_report(folder, &report)?;
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
    let (program, folder, text) = (program(), folder.display(), text.replace('\'', "'\\''"));
    format!("{program} predict --model {folder} --text '{text}' --types '{types}'")
}

/// How `uner` is called: it lies beside this program, or was not built yet.
fn program() -> String {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name("uner"));
    match beside.filter(|program| program.is_file()) {
        Some(program) => program.display().to_string(),
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
    let found =
        examples.take(50).filter_map(Result::ok).max_by_key(|example| example.queries.len().min(3))?;
    Some((found.text, found.queries.join(",")))
}
