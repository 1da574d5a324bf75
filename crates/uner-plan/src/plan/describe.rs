//! A plan as text.

use std::fmt::Write as _;

use uner_data::negative::Strategy;
use uner_trainer::{MomentFormat, Rounding};

use super::{DataSize, Plan, Split, evaluation};
use crate::human::{bytes, count};
use crate::lookup::adapter;

impl Plan {
    /// The plan as lines of `name  value`.
    pub fn describe(&self) -> String {
        let Self { recipe, machine, prompt, data, .. } = self;
        let mut lines = vec![
            ("run", format!("{}, seed {}", recipe.run.dir.display(), recipe.run.seed)),
            ("device", machine.device.clone()),
            ("model", self.model_line()),
            ("tokenizer", self.tokenizer_line()),
            ("data", splits(&data.train)),
            ("negatives", self.negatives_line()),
            ("template", prompt.template.clone()),
            ("size", size_line(data.size)),
        ];
        lines.extend(self.adapter_line());
        lines.extend(self.head_line());
        lines.extend(self.step_lines());
        lines.extend(self.cost_lines());
        lines.extend(evaluation::during_line(recipe, self.steps).map(|line| ("in training", line)));
        lines.push(("disk", self.disk_line()));
        lines.push(("evaluation", splits(&data.benchmarks)));
        let mut text = String::new();
        for (name, value) in lines {
            let _ = writeln!(text, "{name:<12}{value}");
        }
        text
    }

    fn model_line(&self) -> String {
        let Self { model, parameters, .. } = self;
        format!(
            "{}: {} parameters, {} layers of {}, vocabulary {}",
            self.recipe.model.weights,
            count(parameters.model()),
            model.num_hidden_layers,
            model.hidden_size,
            count(model.vocab_size as u64),
        )
    }

    fn adapter_line(&self) -> Option<(&'static str, String)> {
        let config = self.recipe.model.adapter.as_ref()?;
        let number = count(self.parameters.adapter());
        let adapter = adapter::described(Some((config, self.recipe.model.base)));
        Some(("adapter", format!("{adapter}: {number} parameters")))
    }

    fn head_line(&self) -> Option<(&'static str, String)> {
        let number = self.parameters.span_head;
        (number > 0)
            .then(|| ("head", format!("spans, in place of writing: {} parameters", count(number))))
    }

    fn tokenizer_line(&self) -> String {
        let file = self.prompt.tokenizer.as_ref();
        file.map_or_else(|| "trained by this run".to_owned(), String::clone)
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

    fn step_lines(&self) -> Vec<(&'static str, String)> {
        let train = &self.recipe.train;
        let Some(steps) = self.steps else {
            return vec![("steps", "unknown: set `data.expected_conversations`".to_owned())];
        };
        let bound =
            if matches!(self.data.size, DataSize::Counted { .. }) { "about" } else { "at most" };
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

    /// Disk space of the run's folder: the checkpoints that are kept, with all state for resuming,
    /// one more while the next is written, and the encoded data.
    fn disk_line(&self) -> String {
        let train = &self.recipe.train;
        let precision = train.precision.unwrap_or_default();
        let width = |dtype: &str| if dtype == "float32" { 4 } else { 2 };
        let moments = if precision.moments == MomentFormat::EightBit { 2 } else { 8 };
        let (stored, trained) = match self.recipe.model.adapter {
            Some(_) => (4 * self.parameters.trained(), self.parameters.trained()),
            None => {
                (width(&self.model.torch_dtype) * self.parameters.model(), self.parameters.model())
            }
        };
        let is_rounded = self.recipe.model.adapter.is_none() && self.model.torch_dtype != "float32";
        let masters = if is_rounded && precision.rounding == Rounding::Nearest { 4 } else { 0 };
        let each = stored + (moments + masters) * trained;
        let count_of = train.keep_last as u64 + 1 + u64::from(train.best.is_some());
        let data = match self.data.size {
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
}

/// Datasets with their splits.
fn splits(splits: &[Split]) -> String {
    if splits.is_empty() {
        return "none".to_owned();
    }
    let name = |Split { dataset, split, .. }: &Split| format!("{dataset} ({split})");
    splits.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn size_line(data: DataSize) -> String {
    match data {
        DataSize::Counted { conversations, tokens, trained_tokens, .. } => format!(
            "{} conversations, {} tokens, {} of them trained on",
            count(conversations as u64),
            count(tokens),
            count(trained_tokens)
        ),
        DataSize::Expected { conversations } => {
            format!(
                "{} conversations expected (the data is not there to be counted)",
                count(conversations as u64)
            )
        }
        DataSize::Unknown => "unknown: the data is not there".to_owned(),
    }
}
