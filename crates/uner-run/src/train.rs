//! Training, from the data of a recipe to its last checkpoint, on every rank of this process.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use uner_eval::OnProgress;
use uner_eval::report::Report;
use uner_infer::INFER;
use uner_model::Llama;
use uner_plan::assemble::{Assembled, assemble};
use uner_plan::human::duration;
use uner_plan::machine::Ranks as RankCount;
use uner_plan::recipe::Override;
use uner_plan::{Plan, Sources};
use uner_trainer::{
    Callbacks, Event, Group, Interrupted, Run, Scoring, TrainError, TrainState, checkpoint,
};

use crate::adapter;
use crate::folder;
use crate::lock::RunLock;
use crate::measure::{Evaluation, overlap, record_scores, score, write_report};
use crate::monitor::Monitor;
use crate::ranks::{Rank, Ranks, World, together};
use crate::start::{Resumed, detect_machine, initial_state, refuse_too_much};
use crate::system::ModelSystem;

/// Settings and callbacks of a run.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The checkpoint to resume from: `latest`, or a path.
    pub resume: Option<&'a str>,
    /// The keys that override the recipe: a resumed run accepts their changes.
    pub set: &'a [Override],
    /// Computes the gradients of every step twice and compares them.
    pub check_determinism: bool,
    /// Shows progress. Rank 0 calls it.
    pub notify: &'a (dyn Fn(Notice) + Sync),
    /// Whether to save and stop. Every rank calls it, after every step.
    pub interrupted: &'a (dyn Fn() -> bool + Sync),
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resume, set, check_determinism, .. } = self;
        let mut out = out.debug_struct("Options");
        out.field("resume", resume).field("set", set).field("check_determinism", check_determinism);
        out.finish_non_exhaustive()
    }
}

/// Progress of a run.
#[derive(Debug)]
pub enum Notice<'a> {
    /// The training loop begins. Its checkpoint, if any, is of `step`.
    Begins {
        /// Optimizer steps that are done.
        step: u64,
        /// All optimizer steps of the run.
        total: u64,
    },
    /// An event of the training loop.
    Event(&'a Event),
    /// The training loop has ended, or failed.
    Ends,
}

/// A run that has trained to its end. It holds the lock of its folder.
#[derive(Debug)]
pub struct Trained<'a> {
    sources: &'a Sources,
    assembled: Assembled,
    state: TrainState,
    /// The device of rank 0; `None` on other processes.
    device: Option<Device>,
    _lock: Option<RunLock>,
    // Dropped last: with MPI, its end waits for all processes.
    _world: World,
}

/// Trains to the end of the recipe: assembles the data, plans, and runs this process's ranks.
/// `None` if it was interrupted, after a checkpoint.
///
/// # Errors
/// When data, plan, folder or checkpoint cannot be used; when training fails. If other processes
/// belong to the run, it ends them, too.
pub fn train<'a>(sources: &'a Sources, options: &Options) -> Result<Option<Trained<'a>>> {
    let world = World::join()?;
    let ranks = world.ranks(&sources.recipe.run.device)?;
    let folder = &sources.recipe.run.dir;
    let is_main = ranks.own[0].group.is_main();
    let trained = || -> Result<_> {
        ranks.own.iter().try_for_each(|rank| rank.device.open().map(drop))?;
        let checkpoint =
            options.resume.map(|which| folder::to_resume(folder, which)).transpose()?;
        if checkpoint.is_none() && is_main {
            folder::refuse_second_run(folder)?;
            folder::refuse_other_folder(folder, folder.join(INFER).exists())?;
        }
        fs_err::create_dir_all(folder)?;
        let lock = is_main.then(|| RunLock::hold(folder)).transpose()?;
        // A resumed run keeps its tokenizer, even if the original file has changed.
        let tokenizer = checkpoint.as_deref().map(folder::tokenizer).transpose()?;
        tracing::info!("encoding the data");
        let assembled = assemble(sources, folder, tokenizer)?;
        let then = checkpoint.as_deref().map(folder::plan).transpose()?;
        let resumed = checkpoint.as_deref().zip(then.as_ref());
        let resumed = resumed.map(|(path, then)| Resumed { path, then, set: options.set });
        let state = train_ranks(sources, options, &ranks, resumed, &assembled)?;
        let device = is_main.then(|| ranks.own[0].device.open()).transpose()?;
        Ok(state.map(|state| (lock, assembled, state, device)))
    };
    let trained = trained().inspect_err(|error| world.give_up(error))?;
    Ok(trained.map(|(lock, assembled, state, device)| Trained {
        sources,
        assembled,
        state,
        device,
        _lock: lock,
        _world: world,
    }))
}

/// Plans, and trains on all ranks of this process. `None` when interrupted.
fn train_ranks(
    sources: &Sources,
    options: &Options,
    Ranks { own: ranks, here }: &Ranks,
    resumed: Option<Resumed>,
    assembled: &Assembled,
) -> Result<Option<TrainState>> {
    let count = RankCount { all: ranks[0].group.world_size(), here: *here };
    let plan = ranks[0].group.is_main().then(|| {
        let machine = detect_machine(sources, count);
        let had = resumed.map(|resumed| resumed.then.layout);
        Plan::new(sources, assembled.train.summary().into(), machine, had)
    });
    if let Some(plan) = &plan {
        tracing::info!("{}", plan.describe().trim_end());
        refuse_too_much(plan)?;
    }
    let during = sources.recipe.eval.during.as_ref();
    let scores = during.map(|during| {
        let interrupted = options.interrupted;
        (during.every, move |model: &Llama| score(sources, during, assembled, model, interrupted))
    });
    let scoring = scores.as_ref().map(|(every, score)| Scoring { every: *every, score });
    let interrupted = Some(Interrupted(options.interrupted));
    let callbacks = Callbacks { scoring, interrupted };
    let job = Job { sources, options, plan: plan.as_ref(), resumed, assembled, callbacks };
    together(ranks, |rank| job.train(rank))
}

/// Data that the ranks of a process share.
struct Job<'a> {
    sources: &'a Sources,
    options: &'a Options<'a>,
    /// The plan, on the process of rank 0.
    plan: Option<&'a Plan>,
    resumed: Option<Resumed<'a>>,
    assembled: &'a Assembled,
    callbacks: Callbacks<'a>,
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
            check_determinism: self.options.check_determinism,
            ..Run::new(
                (&recipe.train, &self.assembled.config),
                &self.assembled.train,
                &sources.recipe.run.dir,
                group,
            )
        };
        let device = rank.device.open_for_training()?;
        let added = &self.assembled.added_tokens;
        let state = initial_state((sources, &plan), &run, added, self.resumed, &device)?;
        let state = if group.is_main() {
            // Only once the run can begin: a refused run leaves the folder unchanged.
            let extra_files = folder::describe((sources, &plan), self.assembled)?;
            let run = Run { extra_files: &extra_files, ..run };
            let tokenizer = &self.assembled.tokenizer;
            let monitor = Monitor::open(&run, &plan.machine, &state, rank.device, tokenizer)?;
            self.lead(&run, state, monitor)?
        } else {
            uner_trainer::train(&run, state, &mut |_| Ok(self.flow()))?
        };
        Ok((!run.is_unfinished(&state)).then_some(state))
    }

    /// Trains to the end, records it and tells the caller (rank 0).
    fn lead(
        &self,
        run: &Run,
        state: TrainState,
        mut monitor: Monitor,
    ) -> Result<TrainState, TrainError> {
        let notify = self.options.notify;
        let (first, start) = (state.step, Instant::now());
        notify(Notice::Begins { step: first, total: run.total_steps() });
        let trained = uner_trainer::train(run, state, &mut |event| {
            notify(Notice::Event(&monitor.write(event)?));
            Ok(self.flow())
        });
        notify(Notice::Ends);
        let state = trained?;
        let time = duration(start.elapsed().as_secs_f64());
        tracing::info!("trained {} steps in {time}", state.step - first);
        Ok(state)
    }

    fn flow(&self) -> ControlFlow<()> {
        if (self.options.interrupted)() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Broadcasts the plan of rank 0, which knows its device: all ranks must use the same plan.
    fn agreed_plan(&self, group: &Group) -> Result<Plan> {
        let own = self.plan.map_or_else(Vec::new, |plan| plan.to_toml().into_bytes());
        let bytes = group.broadcast(own)?;
        Ok(Plan::parse(std::str::from_utf8(&bytes)?, "the plan of rank 0".as_ref())?)
    }
}

impl Trained<'_> {
    /// Whether this process has rank 0, which measures.
    pub fn is_main(&self) -> bool {
        self.device.is_some()
    }

    /// Measures the trained model on the recipe's benchmarks: the best checkpoint if the recipe
    /// compares them (`train.best`), else the last. Writes the scores to the run's folder and its
    /// metrics. `None` if there are no benchmarks, or this process does not have rank 0.
    ///
    /// # Errors
    /// When the model or a benchmark cannot be read, or the folder cannot be written.
    pub fn measure(self, on_progress: &mut OnProgress) -> Result<Option<Report>> {
        let Self { sources, assembled, state, device, _world, _lock } = self;
        let (benchmarks, folder) = (&sources.recipe.eval.benchmarks, &sources.recipe.run.dir);
        let Some(device) = device.filter(|_| !benchmarks.is_empty()) else { return Ok(None) };
        let step = state.step;
        let model = to_measure(sources, state, &device)?;
        let predictor = assembled.predictor(&model, sources)?;
        let name = folder.display().to_string();
        let mut system = ModelSystem { name, predictor: &predictor };
        let (root, seen) = (sources.recipe.data.root.as_path(), Some(&assembled.seen));
        let evaluation = Evaluation { folder, benchmarks, root, seen, sample: None, resume: false };
        let mut report = evaluation.run(&mut system, on_progress)?;
        report.overlap = overlap(&sources.recipe.data.train, benchmarks, root);
        write_report(folder, &report)?;
        record_scores(folder, step, &report)?;
        Ok(Some(report))
    }
}

/// The model to measure.
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
