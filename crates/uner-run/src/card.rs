//! The model card of an export: `README.md` with the front matter of the Hugging Face hub (Mitchell
//! et al. 2019, "Model Cards for Model Reporting"). Everything in it was recorded: the plan of the
//! run, the descriptions of its datasets, and the reports of its evaluations.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;
use uner_data::{Dataset, regular};
use uner_infer::TYPES;
use uner_plan::Plan;
use uner_plan::human::count;
use uner_plan::plan::{DataSize, PLAN, Split};
use uner_plan::recipe::RANDOM;

use crate::folder::resolve;

/// Most entity types that a card lists.
const MOST_TYPES: usize = 20;
/// Files of an evaluation: its scores, and what was measured.
const REPORT: &str = "report.json";
const EVALUATION: &str = "evaluation.json";

/// Returns the card of a checkpoint of uner under the name `title`; `None` for another model.
/// `is_merged` says whether the export has the checkpoint's adapter in the weights of its base.
///
/// # Errors
/// When the plan or a report is damaged.
pub fn card(checkpoint: &Path, title: &str, is_merged: bool) -> Result<Option<String>> {
    if !checkpoint.join(PLAN).exists() {
        return Ok(None);
    }
    let card = Card {
        title,
        is_merged,
        plan: Plan::read(checkpoint)?,
        steps: step(checkpoint),
        types: types(checkpoint),
        scores: scores(checkpoint)?,
    };
    Ok(Some(card.text()))
}

/// The contents of a card.
struct Card<'a> {
    title: &'a str,
    is_merged: bool,
    plan: Plan,
    /// Optimizer steps that the checkpoint has behind it.
    steps: Option<u64>,
    types: Vec<String>,
    scores: Vec<Score>,
}

/// Scores on a dataset, in percent.
struct Score {
    dataset: String,
    split: String,
    examples: u64,
    is_part: bool,
    official: f64,
    strict: f64,
    partial: f64,
    /// 95 % of the official F1.
    interval: Option<[f64; 2]>,
}

/// The number of steps, which `state.json` has.
fn step(checkpoint: &Path) -> Option<u64> {
    let text = regular::read_to_string(&checkpoint.join("state.json")).ok()?;
    serde_json::from_str::<Value>(&text).ok()?["step"].as_u64()
}

fn types(checkpoint: &Path) -> Vec<String> {
    let text = regular::read_to_string(&checkpoint.join(TYPES)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The scores of a run's own evaluation, and of those by `uner eval`.
fn scores(checkpoint: &Path) -> Result<Vec<Score>> {
    let mut scores: Vec<Score> = Vec::new();
    for file in reports(checkpoint) {
        let report: Value = serde_json::from_str(&regular::read_to_string(&file)?)?;
        let evaluation: Value =
            serde_json::from_str(&regular::read_to_string(&file.with_file_name(EVALUATION))?)?;
        let outcomes = report["outcomes"].as_array().map_or(&[][..], Vec::as_slice);
        for score in outcomes.iter().filter_map(|outcome| Score::of(outcome, &evaluation)) {
            let is_same =
                |other: &Score| (&other.dataset, &other.split) == (&score.dataset, &score.split);
            if !scores.iter().any(is_same) {
                scores.push(score);
            }
        }
    }
    Ok(scores)
}

/// The reports in a checkpoint's folder, and in that of its run if a run's folder means this
/// checkpoint: an earlier one was not measured there.
fn reports(checkpoint: &Path) -> Vec<PathBuf> {
    let is_meant =
        |run: &&Path| resolve(run).is_ok_and(|found| found.file_name() == checkpoint.file_name());
    let run = checkpoint.parent().filter(is_meant);
    let mut found = Vec::new();
    for folder in [Some(checkpoint), run].into_iter().flatten() {
        let evaluations = fs_err::read_dir(folder.join("eval")).ok();
        let mut folders: Vec<PathBuf> = evaluations
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        folders.sort();
        found.extend([folder.to_owned()].into_iter().chain(folders));
    }
    found.into_iter().map(|folder| folder.join(REPORT)).filter(|file| file.exists()).collect()
}

impl Score {
    /// Reads an outcome of a report; `None` without scores. The evaluation has its split.
    fn of(outcome: &Value, evaluation: &Value) -> Option<Self> {
        let dataset = outcome["dataset"].as_str()?;
        let benchmarks = evaluation["benchmarks"].as_object().into_iter().flatten();
        let splits: Vec<&str> = benchmarks
            .filter(|(_, benchmark)| benchmark["dataset"] == dataset)
            .filter_map(|(_, benchmark)| benchmark["split"].as_str())
            .collect();
        let f1 = |key: &str| outcome[key]["f1"].as_f64().map(|f1| 100.0 * f1);
        let interval = &outcome["intervals"]["official"];
        let bound = |key: &str| interval[key].as_f64().map(|bound| 100.0 * bound);
        Some(Self {
            dataset: dataset.to_owned(),
            split: splits.join(", "),
            examples: outcome["num_examples"].as_u64()?,
            is_part: outcome["is_part"].as_bool().unwrap_or(false),
            official: f1("official")?,
            strict: f1("strict")?,
            partial: f1("partial")?,
            interval: bound("low").zip(bound("high")).map(|(low, high)| [low, high]),
        })
    }
}

impl Card<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = write!(
            text,
            "---\n{}---\n\n# {}\n\nA recogniser of named entities of any type, tuned with uner {}. {}; \
             `uner predict --model .` and `uner serve --model .` do so, with spans and \
             probabilities.\n\n## Model\n\n{}\n## Training data\n\n{}\n\
             ## Scores\n\n{}\n## Limits\n\n{}",
            self.front_matter(),
            self.title,
            env!("CARGO_PKG_VERSION"),
            if self.reads() {
                "It reads entities with a head that only uner knows"
            } else {
                "`PROMPT.md` shows how to ask it"
            },
            self.model(),
            self.data(),
            self.score_table(),
            self.limits()
        );
        text
    }

    /// Whether the model reads entities with a span head.
    fn reads(&self) -> bool {
        self.plan.model.span_head
    }

    /// JSON strings are YAML, too.
    fn front_matter(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let is_adapter = self.plan.recipe.model.adapter.is_some() && !self.is_merged;
        let (library, task) = match (self.reads(), is_adapter) {
            (true, _) => ("uner", "token-classification"),
            (false, true) => ("peft", "text-generation"),
            (false, false) => ("transformers", "text-generation"),
        };
        let mut text = format!("library_name: {library}\npipeline_tag: {task}\nlicense: other\n");
        if let Some(base) = self.plan.recipe.model.weights.strip_prefix("hf:") {
            let _ = writeln!(text, "base_model: {}", quoted(base));
        }
        text.push_str("tags:\n- named-entity-recognition\n- information-extraction\n- uner\n");
        if !self.scores.is_empty() {
            let _ = write!(text, "model-index:\n- name: {}\n  results:\n", quoted(self.title));
        }
        for score in &self.scores {
            let _ = write!(
                text,
                "  - task:\n      type: token-classification\n      name: named entity recognition\n    \
                 dataset:\n      name: {name}\n      type: {name}\n      split: {}\n    metrics:\n    - type: f1\n      \
                 name: official F1\n      value: {:.1}\n    - type: f1\n      name: strict F1\n      \
                 value: {:.1}\n",
                quoted(&score.split),
                score.official,
                score.strict,
                name = quoted(&score.dataset),
            );
        }
        text
    }

    fn model(&self) -> String {
        let Plan { recipe, model, parameters, machine, steps, prompt, .. } = &self.plan;
        let base = match recipe.model.weights.as_str() {
            RANDOM => "none: random weights".to_owned(),
            folder => format!(
                "`{}`",
                Path::new(folder).file_name().map_or(folder.into(), |name| name.to_string_lossy())
            ),
        };
        let tuned = match &recipe.model.adapter {
            Some(adapter) => format!("an adapter (LoRA) of rank {}", adapter.rank),
            None => "all parameters".to_owned(),
        };
        let asked = if self.reads() {
            "| head | spans |".to_owned()
        } else {
            format!("| template | `{}` |", prompt.template)
        };
        let train = &recipe.train;
        let length = match (self.steps, steps) {
            (Some(done), Some(steps)) => {
                format!("{done} steps, about {:.0} tokens", done as f64 * steps.tokens)
            }
            (Some(done), None) => format!("{done} steps"),
            (None, _) => "not recorded".to_owned(),
        };
        format!(
            "| | |\n|---|---|\n| base | {base} |\n| parameters | {} in {} layers of {} |\n\
             | tuned | {tuned} |\n{asked}\n| training | {length}; peak learning rate {:e}, \
             {} conversations a step, seed {} |\n| hardware | {}, {} rank(s) |\n",
            count(parameters.model()),
            model.num_hidden_layers,
            model.hidden_size,
            train.lr,
            train.global_batch_size,
            recipe.run.seed,
            machine.device,
            machine.ranks,
        )
    }

    fn data(&self) -> String {
        let mut text = String::from("| dataset | split | licence | source |\n|---|---|---|---|\n");
        let members = self.plan.recipe.data.train.iter().zip(&self.plan.data.train);
        for (member, Split { dataset: name, split, .. }) in members {
            let dataset = member.dataset.resolve().ok();
            let (licence, source) = described(dataset.as_ref());
            let _ = writeln!(text, "| {name} | {split} | {licence} | {source} |");
        }
        let negatives = serde_json::to_value(self.plan.recipe.data.negatives.strategy);
        let negatives = negatives.unwrap_or_default();
        if let DataSize::Counted { conversations, tokens, trained_tokens, .. } = self.plan.data.size
        {
            let _ = writeln!(
                text,
                "\n{conversations} conversations of {tokens} tokens, {trained_tokens} of them trained \
                 on. Absent types were asked by the strategy {negatives}."
            );
        }
        let shown: Vec<String> =
            self.types.iter().take(MOST_TYPES).map(|name| format!("`{name}`")).collect();
        if !shown.is_empty() {
            let more = self.types.len() - shown.len();
            let more =
                if more > 0 { format!(", and {more} more (`{TYPES}`)") } else { String::new() };
            let _ = writeln!(text, "\nTypes, from frequent to rare: {}{more}.", shown.join(", "));
        }
        text
    }

    fn score_table(&self) -> String {
        if self.scores.is_empty() {
            return "Not measured.\n".to_owned();
        }
        let mut text = String::from(
            "F1 in percent: official is the scorer of UniversalNER with an interval of 95 % over \
             passages, strict needs the exact span and type, partial counts an overlap as half.\n\n\
             | dataset | split | examples | official F1 | interval | strict F1 | partial F1 |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for score in &self.scores {
            let interval = score
                .interval
                .map_or(String::new(), |[low, high]| format!("{low:.1} to {high:.1}"));
            let part = if score.is_part { " (a part)" } else { "" };
            let _ = writeln!(
                text,
                "| {} | {} | {}{part} | {:.1} | {interval} | {:.1} | {:.1} |",
                score.dataset,
                score.split,
                score.examples,
                score.official,
                score.strict,
                score.partial
            );
        }
        text
    }

    fn limits(&self) -> String {
        format!(
            "- The licences of the base model and of every dataset above apply to this model.\n\
             - Types, domains and languages other than those of the training data are answered, too, \
             and are not measured.\n\
             - In training a passage and its queries had at most {} tokens. `uner predict` cuts longer \
             texts.\n\
             - Probabilities are those of the model; `uner eval --calibration` measures how far they \
             can be trusted.\n",
            self.plan.recipe.train.max_seq_len
        )
    }
}

/// Licence and source of a dataset.
fn described(dataset: Option<&Dataset>) -> (&str, &str) {
    match dataset {
        Some(dataset) if dataset.licence.is_empty() => ("not named", &dataset.source),
        Some(dataset) => (&dataset.licence, &dataset.source),
        None => ("not described", ""),
    }
}
