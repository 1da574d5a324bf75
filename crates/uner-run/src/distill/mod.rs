//! Distillation by a recipe: passages of a corpus, the answers of a teacher, training data.

mod recipe;
mod teacher;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use uner_data::overlap::{Index, Overlap};
use uner_data::{DataError, DatasetRef, read, registry};
use uner_distill::annotate::{Progress, Summary};
use uner_distill::folder::Shard;
use uner_distill::output::{DATASET, OutputConfig, REPORT_JSON, REPORT_MARKDOWN};
use uner_distill::teacher::open_endpoint;
use uner_distill::{
    Annotation, CorpusSummary, DistillReport, SubsetSummary, Teacher, passages, sample_passages,
    write_passages,
};
use uner_endpoint::Estimate;
use uner_infer::{LoadOptions, Predictor, TEMPLATE};
use uner_model::atomic;
use uner_plan::hub::{self, Accepted};
use uner_prompt::{Tokenizer, tokenizer_in};

use crate::folder::resolve;
use crate::lock::RunLock;
use teacher::LocalTeacher;

pub use recipe::{DistillRecipe, DistillRun, LocalModel, Passages, ReportConfig, TeacherConfig};

/// The sampled passages, in the folder of a run.
const PASSAGES: &str = "passages.jsonl";
/// The settings that the passages were drawn with.
const CORPUS: &str = "corpus.toml";
/// The counts of the corpus.
const CORPUS_COUNTS: &str = "corpus.json";

/// Progress of a distillation.
#[derive(Debug)]
pub enum Stage<'a> {
    /// The corpus is read.
    Corpus(passages::Progress),
    /// The teacher can start; the rest will cost so much.
    Estimate(Estimate),
    /// The teacher answers.
    Teacher(&'a Progress),
}

/// Receives the progress; `Break` interrupts.
pub type OnStage<'a> = dyn FnMut(Stage) -> ControlFlow<()> + 'a;

/// Draws the passages of a recipe, has them annotated, and builds the training data in the recipe's
/// folder. Continues a run that was interrupted: passages are drawn once, and each is answered
/// once. A shard only has answers; [`merge`] builds the training data of all.
///
/// The report is `None` for a shard, and after an interrupt.
///
/// # Errors
/// When the corpus, the tokenizer or the teacher cannot be used, the folder has another run, or a
/// file cannot be written. Answers until then are kept.
pub fn distill(
    recipe: &DistillRecipe,
    shard: Option<Shard>,
    accepted: &[Accepted],
    on_stage: &mut OnStage,
) -> Result<(Summary, Option<DistillReport>)> {
    let passages = draw(recipe, on_stage)?;
    let folder = folder_of(recipe, shard);
    let mut teacher = open_teacher(recipe, &folder, accepted)?;
    let prompt = recipe.teacher.prompt;
    let mut annotation = Annotation::open(&folder, &passages, prompt, shard, &*teacher)?;
    let estimate = annotation.estimate(&*teacher)?;
    ensure!(
        on_stage(Stage::Estimate(estimate)).is_continue(),
        "stopped before the first request; go on with the same command"
    );
    let mut on_progress = |progress: &Progress| on_stage(Stage::Teacher(progress));
    let summary = annotation.run(&mut *teacher, &mut on_progress)?;
    if shard.is_some() || summary.end != uner_endpoint::End::Complete {
        return Ok((summary, None));
    }
    let report = uner_distill::build(&folder, &passages, &output(recipe))?;
    Ok((summary, Some(with_overlap(recipe, report)?)))
}

/// Joins the shards of a recipe and builds their training data in the recipe's folder.
/// `allow_unanswered` leaves out passages without an answer.
///
/// # Errors
/// When a shard is missing or does not belong to the others, or a file cannot be written.
pub fn merge(recipe: &DistillRecipe, allow_unanswered: bool) -> Result<DistillReport> {
    let dir = &recipe.run.dir;
    let mut shards = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(SHARD) && path.is_dir() {
            shards.push(path);
        }
    }
    shards.sort();
    if shards.is_empty() {
        bail!("`{}` has no shards; run `uner distill --shard 0/N` and so on first", dir.display());
    }
    let passages = dir.join(PASSAGES);
    let report = uner_distill::merge(&shards, &passages, dir, &output(recipe), allow_unanswered)?;
    with_overlap(recipe, report)
}

/// The start of the names of the shards' folders.
const SHARD: &str = "shard-";

fn folder_of(recipe: &DistillRecipe, shard: Option<Shard>) -> PathBuf {
    let dir = &recipe.run.dir;
    shard.map_or_else(
        || dir.clone(),
        |shard| dir.join(format!("{SHARD}{}-of-{}", shard.index(), shard.count())),
    )
}

fn output(recipe: &DistillRecipe) -> OutputConfig {
    let prices = recipe.teacher.endpoint.as_ref().and_then(|endpoint| endpoint.prices);
    OutputConfig { filter: recipe.filter, prices }
}

/// The file with the passages of a recipe, which are drawn if it is missing.
fn draw(recipe: &DistillRecipe, on_stage: &mut OnStage) -> Result<PathBuf> {
    let DistillRecipe { run, corpus, passages: Passages { tokenizer }, .. } = recipe;
    let (file, settings) = (run.dir.join(PASSAGES), run.dir.join(CORPUS));
    let drawn = toml::to_string(&Drawn { seed: run.seed, tokenizer, corpus })?;
    if file.exists() {
        let then = fs_err::read_to_string(&settings)?;
        ensure!(
            then == drawn,
            "`{}` was drawn with another corpus, seed or tokenizer (`{}`); restore them, or choose \
             another `run.dir`",
            file.display(),
            settings.display()
        );
        return Ok(file);
    }
    fs_err::create_dir_all(&run.dir)?;
    // Two processes that draw at the same time would write one file.
    let _lock = RunLock::hold(&run.dir)?;
    let tokenizer = tokenizer.as_deref().map(open_tokenizer).transpose()?;
    let fits = |text: &str| match &tokenizer {
        Some(tokenizer) => {
            tokenizer.encode_segment(text).is_ok_and(|ids| ids.len() <= corpus.max_tokens)
        }
        None => passages::num_words(text) <= corpus.max_tokens,
    };
    let sampled =
        sample_passages(corpus, run.seed, fits, &mut |progress| on_stage(Stage::Corpus(progress)))?;
    atomic::write::<anyhow::Error>(&settings, |out| Ok(out.write_all(drawn.as_bytes())?))?;
    let counts = serde_json::to_string_pretty(&sampled.summary)?;
    fs_err::write(run.dir.join(CORPUS_COUNTS), counts)?;
    write_passages(&file, &sampled.passages)?;
    log(&sampled.summary);
    Ok(file)
}

fn open_tokenizer(path: &Path) -> Result<Tokenizer> {
    let file = if path.is_dir() { tokenizer_in(path) } else { path.to_owned() };
    Ok(Tokenizer::from_file(&file)?)
}

fn log(summary: &CorpusSummary) {
    for (name, counts) in &summary.subsets {
        let SubsetSummary { documents, unreadable, passages, too_short, duplicates, .. } = counts;
        tracing::info!(
            "corpus `{name}`: {} of {passages} passages of {documents} documents ({too_short} too \
             short, {duplicates} duplicates)",
            counts.sampled
        );
        if *unreadable > 0 {
            tracing::warn!("corpus `{name}`: {unreadable} documents cannot be read");
        }
    }
    summary.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
    let ignored = summary.ignored_files.len();
    if let Some(first) = summary.ignored_files.first() {
        tracing::warn!("{ignored} files have no known format, such as `{}`", first.display());
    }
}

/// The settings that decide the passages.
#[derive(serde::Serialize)]
struct Drawn<'a> {
    seed: u64,
    tokenizer: &'a Option<PathBuf>,
    corpus: &'a uner_distill::CorpusConfig,
}

fn open_teacher(
    recipe: &DistillRecipe,
    folder: &Path,
    accepted: &[Accepted],
) -> Result<Box<dyn Teacher>> {
    let config = &recipe.teacher;
    if let Some(endpoint) = &config.endpoint {
        return Ok(Box::new(open_endpoint(endpoint.clone(), folder)?));
    }
    let LocalModel { weights, template, max_new_tokens } =
        config.model.as_ref().context("the recipe has no teacher")?;
    let model = resolve(&hub::folder(weights, accepted)?)?;
    let own = model.join(TEMPLATE).exists();
    let options = LoadOptions {
        template: template.clone().or_else(|| (!own).then(|| "chat".to_owned())),
        max_new_tokens: Some(*max_new_tokens),
        ..LoadOptions::default()
    };
    let predictor = Predictor::load_with(&model, &recipe.run.device.first().open()?, &options)?;
    let name = weights.display().to_string();
    Ok(Box::new(LocalTeacher { name, predictor, max_new_tokens: *max_new_tokens }))
}

/// The report with the overlap of the annotated passages with benchmarks, if the recipe names any.
fn with_overlap(recipe: &DistillRecipe, mut report: DistillReport) -> Result<DistillReport> {
    let folder = &recipe.run.dir;
    let Some(overlap) = overlap(recipe)? else { return Ok(report) };
    report.overlap = Some(overlap);
    for (name, text) in [(REPORT_JSON, report.json()?), (REPORT_MARKDOWN, report.markdown())] {
        let path = folder.join(name);
        atomic::write::<anyhow::Error>(&path, |out| Ok(out.write_all(text.as_bytes())?))?;
    }
    Ok(report)
}

/// Benchmarks whose files do not exist are left out, with a warning.
fn overlap(recipe: &DistillRecipe) -> Result<Option<Overlap>> {
    let mut benchmarks = Vec::new();
    for list in &recipe.report.against {
        for dataset in registry::in_list(list)? {
            match read(&dataset, "test", &recipe.report.root) {
                Ok(examples) => benchmarks.push((format!("{}:test", dataset.name), examples)),
                Err(error @ DataError::MissingFile { .. }) => tracing::warn!("{error}"),
                Err(error) => return Err(error.into()),
            }
        }
    }
    if benchmarks.is_empty() {
        return Ok(None);
    }
    let index = Index::new(benchmarks)?;
    let mut scan = index.scan();
    let description = recipe.run.dir.join(DATASET).to_string_lossy().into_owned();
    let dataset = DatasetRef::Name(description).resolve()?;
    scan.add("distilled", read(&dataset, "train", &recipe.run.dir)?)?;
    Ok(Some(scan.overlap(0)))
}
