//! Training of a token classifier, from the data of a recipe to its last checkpoint.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use burn::tensor::{DType, Device};
use uner_data::{Member, SeenMentions};
use uner_eval::OnProgress;
use uner_eval::report::Report;
use uner_model::atomic;
use uner_model::bert::{self, BertConfig, TokenClassifier};
use uner_plan::assemble::{log_notes, scratch};
use uner_plan::human::duration;
use uner_plan::recipe::TaggerRecipe;
use uner_trainer::data::store::StoreWriter;
use uner_trainer::metrics::event::MetricsWriter;
use uner_trainer::metrics::tensorboard::EventFile;
use uner_trainer::{
    AdamW, Callbacks, Event, Interrupted, Layout, MicroBatchRows, Precision, Run, Scoring,
    TokenStore, TrainError, TrainState, checkpoint,
};

use super::encode::{Encoder, Lost, TagSet, words};
use super::system::{Tagger, TaggerSystem};
use crate::folder;
use crate::lock::RunLock;
use crate::measure::{Evaluation, overlap, record_scores, strict_f1, write_report};
use crate::ranks::{Rank, World, together};
use crate::{Notice, Options};

const RECIPE: &str = "recipe.toml";
/// Files of the encoder's folder that go into every checkpoint, if they exist.
const TOKENIZER: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"];
/// Tokens of a pass with `micro_batch_rows = "auto"`.
const AUTO_TOKENS: usize = 2048;

/// The encoded data of a recipe.
struct Data {
    tags: TagSet,
    train: TokenStore,
    validation: Option<TokenStore>,
    seen: SeenMentions,
}

/// A token classifier that has trained to its end. It holds the lock of its folder.
#[derive(Debug)]
pub struct TrainedTagger<'a> {
    recipe: &'a TaggerRecipe,
    tagger: Tagger,
    seen: SeenMentions,
    state: TrainState<TokenClassifier>,
    /// The device of rank 0; `None` on other processes.
    device: Option<Device>,
    _lock: Option<RunLock>,
    _world: World,
}

/// Trains to the end of the recipe. `None` if it was interrupted, after a checkpoint.
///
/// # Errors
/// When data, encoder, folder or checkpoint cannot be used; when training fails. If other processes
/// belong to the run, it ends them, too.
pub fn train<'a>(recipe: &'a TaggerRecipe, options: &Options) -> Result<Option<TrainedTagger<'a>>> {
    recipe.check()?;
    let world = World::join()?;
    let ranks = world.ranks(&recipe.run.device)?;
    let run_folder = &recipe.run.dir;
    let is_main = ranks.own[0].group.is_main();
    let trained = || -> Result<_> {
        let resumed =
            options.resume.map(|which| folder::to_resume(run_folder, which)).transpose()?;
        match &resumed {
            None if is_main => {
                folder::refuse_second_run(run_folder)?;
                folder::refuse_other_folder(run_folder, read_recipe(run_folder).is_ok())?;
            }
            Some(path) => refuse_other_recipe(path, recipe)?,
            None => {}
        }
        fs_err::create_dir_all(run_folder)?;
        let lock = is_main.then(|| RunLock::hold(run_folder)).transpose()?;
        let data = encode(recipe)?;
        let labels = data.tags.labels();
        let config = bert::read_config(&recipe.model.weights)?.with_labels(&labels);
        let tagger = Tagger::open(&recipe.model.weights, config)?;
        // Only once the run can begin: a refused run leaves the folder unchanged.
        let extra_files = if is_main { describe_run(recipe)? } else { Vec::new() };
        let job = Job { recipe, options, data: &data, tagger: &tagger, extra_files: &extra_files };
        let state = together(&ranks.own, |rank| job.train(rank, resumed.as_deref()))?;
        let device = is_main.then(|| ranks.own[0].device.open()).transpose()?;
        Ok(state.map(|state| (lock, tagger, data.seen, state, device)))
    };
    let trained = trained().inspect_err(|error| world.give_up(error))?;
    Ok(trained.map(|(lock, tagger, seen, state, device)| TrainedTagger {
        recipe,
        tagger,
        seen,
        state,
        device,
        _lock: lock,
        _world: world,
    }))
}

/// Reads and encodes the data, and describes the run in lines for a terminal.
///
/// # Errors
/// When the encoder or the data cannot be read, or the recipe contradicts itself.
pub fn describe(recipe: &TaggerRecipe) -> Result<String> {
    recipe.check()?;
    let data = encode(recipe)?;
    let config = bert::read_config(&recipe.model.weights)?;
    let summary = data.train.summary();
    let mut out = String::new();
    writeln!(
        out,
        "{:<12}{} layers of {}, {} labels",
        "encoder",
        config.num_hidden_layers,
        config.hidden_size,
        data.tags.labels().len()
    )?;
    writeln!(
        out,
        "{:<12}{} sequences, {} tokens, {} tagged words",
        "data", summary.conversations, summary.tokens, summary.trained_tokens
    )?;
    let steps = recipe.train.total_steps(data.train.len());
    writeln!(out, "{:<12}{steps} steps, {} rows a pass", "training", micro_batch_rows(recipe))?;
    Ok(out)
}

/// Data and settings that the ranks of a process share.
struct Job<'a> {
    recipe: &'a TaggerRecipe,
    options: &'a Options<'a>,
    data: &'a Data,
    tagger: &'a Tagger,
    extra_files: &'a [PathBuf],
}

impl Job<'_> {
    /// One rank's part of the training; `None` when interrupted.
    fn train(
        &self,
        rank: &Rank,
        resumed: Option<&Path>,
    ) -> Result<Option<TrainState<TokenClassifier>>> {
        let recipe = self.recipe;
        let during = recipe.eval.during.as_ref();
        let scores =
            during.map(|during| (during.every, |model: &TokenClassifier| self.score(model)));
        let scoring = scores.as_ref().map(|(every, score)| Scoring { every: *every, score });
        let interrupted = Some(Interrupted(self.options.interrupted));
        let layout = Layout { micro_batch_rows: micro_batch_rows(recipe), ..Layout::default() };
        let run: Run<TokenClassifier> = Run {
            seed: recipe.run.seed,
            validation: self.data.validation.as_ref(),
            layout,
            extra_files: self.extra_files,
            callbacks: Callbacks { scoring, interrupted },
            check_determinism: self.options.check_determinism,
            ..Run::of(
                (&recipe.train, &self.tagger.config),
                &self.data.train,
                &recipe.run.dir,
                &rank.group,
            )
        };
        let state = self.initial(&run, resumed, &rank.device.open_for_training()?)?;
        let state = if rank.group.is_main() {
            self.lead(&run, state)?
        } else {
            uner_trainer::train(&run, state, &mut |_| Ok(self.flow()))?
        };
        Ok((!run.is_unfinished(&state)).then_some(state))
    }

    fn initial(
        &self,
        run: &Run<TokenClassifier>,
        resumed: Option<&Path>,
        device: &Device,
    ) -> Result<TrainState<TokenClassifier>> {
        let Some(path) = resumed else {
            let (weights, labels) = (&self.recipe.model.weights, self.tagger.config.labels());
            let (_, model) = bert::load_encoder(weights, &labels, run.seed, device)?;
            let (model, optimizer) = AdamW::new(model, Precision::of(DType::F32), run.group);
            return Ok(TrainState::begin(model, optimizer));
        };
        let (state, saved) = checkpoint::load_classifier(path, run.group, device)?;
        saved.check_resumable(&run.checkpoint_state(&state), path)?;
        Ok(state)
    }

    /// Trains to the end and records it (rank 0).
    fn lead(
        &self,
        run: &Run<TokenClassifier>,
        state: TrainState<TokenClassifier>,
    ) -> Result<TrainState<TokenClassifier>, TrainError> {
        let notify = self.options.notify;
        let (first, start) = (state.step, Instant::now());
        let mut metrics = MetricsWriter::open(run.folder, first)?;
        let mut tensorboard = EventFile::open(run.folder, first)?;
        notify(Notice::Begins { step: first, total: run.total_steps() });
        let trained = uner_trainer::train(run, state, &mut |event: &Event| {
            metrics.write(event)?;
            tensorboard.write(event)?;
            notify(Notice::Event(event));
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

    /// The macro average of strict F1 over the benchmarks of `eval.during`.
    fn score(&self, model: &TokenClassifier) -> Result<Option<f64>, TrainError> {
        let Some(during) = &self.recipe.eval.during else { return Ok(None) };
        let mut system = TaggerSystem { name: String::new(), tagger: self.tagger, model };
        strict_f1(&mut system, &self.recipe.data.root, during, self.options.interrupted)
    }
}

impl TrainedTagger<'_> {
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
        let Self { recipe, tagger, seen, state, device, .. } = &self;
        let (benchmarks, folder) = (&recipe.eval.benchmarks, &recipe.run.dir);
        let Some(device) = device.as_ref().filter(|_| !benchmarks.is_empty()) else {
            return Ok(None);
        };
        let best = recipe.train.best.map(|_| checkpoint::best(folder)).transpose()?.flatten();
        let best = best.map(|path| bert::load(&path, device)).transpose()?;
        let model = best.as_ref().map_or(&state.model, |(_, model)| model);
        let mut system = TaggerSystem { name: folder.display().to_string(), tagger, model };
        let (root, seen) = (recipe.data.root.as_path(), Some(seen));
        let evaluation = Evaluation { folder, benchmarks, root, seen, sample: None, resume: false };
        let mut report = evaluation.run(&mut system, on_progress)?;
        report.overlap = overlap(&recipe.data.train, benchmarks, root);
        write_report(folder, &report)?;
        record_scores(folder, state.step, &report)?;
        Ok(Some(report))
    }
}

fn micro_batch_rows(recipe: &TaggerRecipe) -> NonZeroUsize {
    match recipe.train.micro_batch_rows {
        MicroBatchRows::Fixed(rows) => rows,
        MicroBatchRows::Auto => {
            NonZeroUsize::new(AUTO_TOKENS / recipe.train.max_seq_len).unwrap_or(NonZeroUsize::MIN)
        }
    }
}

/// Reads the splits of a recipe and encodes them. Types are numbered in the order in which the
/// training data has them.
fn encode(recipe: &TaggerRecipe) -> Result<Data> {
    let config: BertConfig = bert::read_config(&recipe.model.weights)?;
    let (length, most) = (recipe.train.max_seq_len, config.max_position_embeddings);
    ensure!(
        length <= most,
        "`train.max_seq_len` is {length}, but the encoder was made for {most} tokens \
         (`max_position_embeddings`); lower `train.max_seq_len`"
    );
    let encoder = Encoder::open(&recipe.model.weights, length)?;
    let (mut tags, mut seen) = (TagSet::default(), SeenMentions::default());
    each_example(&recipe.data.train, &recipe.data.root, |example| {
        example.entities.iter().for_each(|entity| tags.add(&entity.entity_type));
        seen.add(&example);
        Ok(())
    })?;
    let store = |members: &[Member]| store(members, recipe, &encoder, &tags);
    let validation = &recipe.data.validation;
    let validation = (!validation.is_empty()).then(|| store(validation)).transpose()?;
    Ok(Data { train: store(&recipe.data.train)?, validation, tags, seen })
}

fn store(
    members: &[Member],
    recipe: &TaggerRecipe,
    encoder: &Encoder,
    tags: &TagSet,
) -> Result<TokenStore> {
    let scratch = scratch()?;
    let mut writer = StoreWriter::new(scratch.path(), recipe.train.max_seq_len)?;
    let mut lost = Lost::default();
    each_example(members, &recipe.data.root, |example| {
        let words = words(&example.text);
        let classes = tags.classes(&example, &words, &mut lost);
        for window in encoder.windows(&words)? {
            writer.push_classified(&window.classified(&classes))?;
        }
        Ok(())
    })?;
    for (count, problem) in [
        (lost.cut_words, "begin or end within a word; the whole word is tagged"),
        (lost.overlapping, "overlap another or have no position, and are left out"),
    ] {
        if count > 0 {
            tracing::warn!("{count} entities {problem}");
        }
    }
    Ok(writer.finish()?)
}

/// Calls `each` with every example of some splits, in order.
fn each_example(
    members: &[Member],
    root: &Path,
    mut each: impl FnMut(uner_data::Example) -> Result<()>,
) -> Result<()> {
    for member in members {
        let dataset = member.dataset.resolve()?;
        let mut examples = uner_data::read(&dataset, &member.split, root)?;
        for example in examples.by_ref() {
            let example = example?;
            let id = example.id.clone();
            each(example).with_context(|| format!("example `{id}`"))?;
        }
        log_notes(examples.notes());
    }
    Ok(())
}

/// Writes the recipe to the run's folder, and returns the files that go into every checkpoint.
fn describe_run(recipe: &TaggerRecipe) -> Result<Vec<PathBuf>> {
    let path = recipe.run.dir.join(RECIPE);
    let text = toml::to_string(recipe)?;
    atomic::write::<anyhow::Error>(&path, |out| Ok(out.write_all(text.as_bytes())?))?;
    let tokenizer = TOKENIZER.iter().map(|name| recipe.model.weights.join(name));
    Ok(tokenizer.filter(|path| path.exists()).chain([path]).collect())
}

/// The recipe in a folder.
fn read_recipe(folder: &Path) -> Result<TaggerRecipe> {
    let text = uner_data::regular::read_to_string(&folder.join(RECIPE))?;
    Ok(toml::from_str(&text)?)
}

/// Refuses to resume a checkpoint with another model, other data or another training.
fn refuse_other_recipe(path: &Path, recipe: &TaggerRecipe) -> Result<()> {
    let then = read_recipe(path).with_context(|| {
        format!("checkpoint `{}` is not one of a token classifier", path.display())
    })?;
    let sections = [
        ("run.seed", then.run.seed == recipe.run.seed),
        ("model", then.model == recipe.model),
        ("data", then.data == recipe.data),
        ("train", then.train == recipe.train),
    ];
    let changed: Vec<String> =
        sections.iter().filter(|(_, same)| !same).map(|(name, _)| format!("`{name}`")).collect();
    ensure!(
        changed.is_empty(),
        "checkpoint `{}` was trained with another {}; restore it, or start a new run",
        path.display(),
        changed.join(", ")
    );
    Ok(())
}
