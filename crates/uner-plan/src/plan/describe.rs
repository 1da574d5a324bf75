//! A plan for people.

use std::fmt::Write as _;

use indexmap::IndexMap;
use uner_data::negative::Strategy;
use uner_trainer::{MomentForm, Rounding};

use super::{DataSize, Missing, Numbers, Plan, evaluation};
use crate::human::{bytes, count};
use crate::lookup::adapter;

impl Plan {
    /// The plan as a text of `name  value` lines, what is missing last.
    pub fn describe(&self, numbers: &Numbers) -> String {
        let mut lines = vec![
            ("run", format!("{}, seed {}", self.recipe.run.dir.display(), self.recipe.run.seed)),
            ("device", numbers.place.to_string()),
            ("model", self.model_line(numbers)),
            ("tokenizer", self.tokenizer_line()),
            ("data", self.data_line()),
            ("negatives", self.negatives_line()),
            ("template", self.template.fingerprint()),
            ("size", size_line(numbers.data)),
        ];
        lines.extend(self.adapter_line(numbers));
        lines.extend(self.step_lines(numbers));
        lines.extend(numbers.lines(self.model.config.num_hidden_layers));
        lines.extend(
            evaluation::during_line(&self.recipe, numbers.steps).map(|line| ("in training", line)),
        );
        lines.push(("disk", self.disk_line(numbers)));
        lines.push(("evaluation", self.evaluation_line()));
        let mut text = String::new();
        for (name, value) in lines {
            let _ = writeln!(text, "{name:<12}{value}");
        }
        for line in missing_lines(&self.missing) {
            let _ = writeln!(text, "{:<12}{line}", "missing");
        }
        text
    }

    fn model_line(&self, numbers: &Numbers) -> String {
        let config = &self.model.config;
        format!(
            "{}: {} parameters, {} layers of {}, vocabulary {}",
            self.recipe.model.weights,
            count(numbers.size.model()),
            config.num_hidden_layers,
            config.hidden_size,
            count(config.vocab_size as u64),
        )
    }

    fn adapter_line(&self, numbers: &Numbers) -> Option<(&'static str, String)> {
        let config = self.recipe.model.adapter.as_ref()?;
        let number = count(numbers.size.adapter());
        Some((
            "adapter",
            format!(
                "{}: {number} parameters",
                adapter::described(Some((config, self.recipe.model.base)))
            ),
        ))
    }

    fn tokenizer_line(&self) -> String {
        self.model
            .tokenizer
            .as_ref()
            .map_or_else(|| "trained on the spot".to_owned(), |file| file.display().to_string())
    }

    fn data_line(&self) -> String {
        let names = self.train.iter().zip(&self.recipe.data.train);
        let names: Vec<String> =
            names.map(|(dataset, member)| format!("{} ({})", dataset.name, member.split)).collect();
        names.join(", ")
    }

    fn negatives_line(&self) -> String {
        let negatives = &self.recipe.data.negatives;
        match negatives.strategy {
            Strategy::None => "none but those in the data".to_owned(),
            Strategy::ClosedWorld => "all absent types of each dataset".to_owned(),
            Strategy::Uniform => {
                format!("{} for each present type, drawn uniformly", negatives.ratio)
            }
            Strategy::Frequency => {
                format!("{} for each present type, drawn by frequency", negatives.ratio)
            }
        }
    }

    fn step_lines(&self, numbers: &Numbers) -> Vec<(&'static str, String)> {
        let train = &self.recipe.train;
        let Some(steps) = numbers.steps else {
            return vec![("steps", "unknown: set `data.expected_conversations`".to_owned())];
        };
        let bound =
            if matches!(numbers.data, DataSize::Counted { .. }) { "about" } else { "at most" };
        vec![
            (
                "steps",
                format!(
                    "{} ({} an epoch, {} of warm-up), learning rate {} ({})",
                    count(steps.total),
                    count(steps.per_epoch),
                    count(steps.warmup),
                    train.lr,
                    format!("{:?}", train.schedule).to_lowercase()
                ),
            ),
            (
                "a step",
                format!(
                    "{} conversations, {bound} {} tokens, in rows of {}",
                    train.global_batch_size,
                    count(steps.tokens as u64),
                    train.max_seq_len
                ),
            ),
        ]
    }

    /// What the run's folder will take: checkpoints with all that resuming needs, one of them while
    /// the next is written, and the encoded data.
    fn disk_line(&self, numbers: &Numbers) -> String {
        let train = &self.recipe.train;
        let precision = train.precision.unwrap_or_default();
        let width = |dtype: &str| if dtype == "float32" { 4 } else { 2 };
        let moments = if precision.moments == MomentForm::EightBit { 2 } else { 8 };
        let (stored, trained) = match self.recipe.model.adapter {
            Some(_) => (4 * numbers.size.adapter(), numbers.size.adapter()),
            None => {
                (width(&self.model.config.torch_dtype) * numbers.size.model(), numbers.size.model())
            }
        };
        let is_rounded =
            self.recipe.model.adapter.is_none() && self.model.config.torch_dtype != "float32";
        let masters = if is_rounded && precision.rounding == Rounding::Nearest { 4 } else { 0 };
        let each = stored + (moments + masters) * trained;
        let count_of = train.keep_last as u64 + 1 + u64::from(train.best.is_some());
        let data = match numbers.data {
            DataSize::Counted { tokens, .. } => {
                format!(", and {} of encoded data", bytes(4 * tokens))
            }
            _ => String::new(),
        };
        format!(
            "{}: up to {count_of} checkpoints of {}{data}",
            bytes(each.saturating_mul(count_of)),
            bytes(each)
        )
    }

    fn evaluation_line(&self) -> String {
        let names = self.benchmarks.iter().zip(&self.recipe.eval.benchmarks);
        let names: Vec<String> = names
            .map(|(dataset, benchmark)| format!("{} ({})", dataset.name, benchmark.split))
            .collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

fn size_line(data: DataSize) -> String {
    match data {
        DataSize::Counted { conversations, tokens, trained_tokens } => format!(
            "{} conversations, {} tokens, {} of them trained on",
            count(conversations as u64),
            count(tokens),
            count(trained_tokens)
        ),
        DataSize::Expected(conversations) => {
            format!(
                "{} conversations expected (the data is not there to be counted)",
                count(conversations as u64)
            )
        }
        DataSize::Unknown => "unknown: the data is not there".to_owned(),
    }
}

/// What is missing, and after all that comes from one source, how to get it.
pub fn missing_lines<'a>(missing: impl IntoIterator<Item = &'a Missing>) -> Vec<String> {
    let mut sources: IndexMap<(&str, &str), Vec<String>> = IndexMap::new();
    for Missing { what, path, obtain, licence, .. } in missing {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let line = format!("{what}: `{}` does not exist", path.display());
        sources.entry((licence, obtain)).or_default().push(line);
    }
    let source = |((licence, obtain), mut lines): ((&str, &str), Vec<String>)| {
        let licence =
            if licence.is_empty() { String::new() } else { format!("licence: {licence}; ") };
        if obtain.is_empty() {
            lines.push(format!(
                "  {licence}put it there, or correct the path in the recipe or the description"
            ));
        } else {
            lines.push(format!("  {licence}how to get it: {obtain}"));
        }
        lines
    };
    sources.into_iter().flat_map(source).collect()
}
