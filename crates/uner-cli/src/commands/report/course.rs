//! Reads a run's `metrics.jsonl` as series over steps.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

/// Weight of the previous mean in the smoothed loss; the rest is the weight of the step's own loss.
pub(super) const SMOOTHING: f64 = 0.9;

/// Pairs of step and value.
pub(super) type Series = Vec<(f64, f64)>;

/// The metrics of a run.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The run's folder.
    pub(super) name: String,
    /// Its recipe as it was written; empty if there is none.
    pub(super) recipe: String,
    /// Mean loss of the trained tokens.
    pub(super) loss: Series,
    /// Norm of the gradient before clipping.
    pub(super) grad_norm: Series,
    /// Learning rate.
    pub(super) lr: Series,
    /// Tokens a second.
    pub(super) speed: Series,
    /// Model FLOPs utilisation, in percent.
    pub(super) mfu: Series,
    /// Share of the measured rate of matrix products, in percent.
    pub(super) matmul_utilization: Series,
    /// Loss of the validation set.
    pub(super) validation: Series,
    /// F1 of the evaluations during training, in percent.
    pub(super) score: Series,
    /// Scores of the trained model by name, in percent.
    pub(super) measured: BTreeMap<String, f64>,
    /// The most bytes in use.
    pub(super) memory: f64,
    /// Tokens of all steps.
    pub(super) tokens: f64,
    /// Seconds of all steps.
    pub(super) seconds: f64,
    /// Steps that were skipped because of a guard.
    pub(super) skipped: usize,
}

impl Course {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// When it has no metrics, or no step.
    pub(super) fn read(run: &Path) -> Result<Self> {
        let path = run.join("metrics.jsonl");
        if !path.is_file() {
            bail!(
                "`{}` does not exist: name the folder of a run that has started to train",
                path.display()
            );
        }
        let text = fs_err::read(&path)?;
        let recipe = run.join("recipe.toml");
        let recipe = if recipe.is_file() { fs_err::read_to_string(recipe)? } else { String::new() };
        let mut course = Self { name: run.display().to_string(), recipe, ..Self::default() };
        // The run may still be writing the line after the last line end.
        let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        lines.pop();
        let mut damaged = Vec::new();
        for (line, number) in lines.into_iter().zip(1..) {
            match serde_json::from_slice(line) {
                Ok(event) => course.add(&event),
                Err(_) => damaged.push(number),
            }
        }
        if let Some(first) = damaged.first() {
            tracing::warn!(
                "{}:{first}: {} damaged lines are left out",
                path.display(),
                damaged.len()
            );
        }
        if course.loss.is_empty() {
            bail!("`{}` has no step yet", path.display());
        }
        Ok(course)
    }

    fn add(&mut self, event: &Value) {
        let number = |key: &str| event[key].as_f64();
        let percent = |key: &str| number(key).map(|share| 100.0 * share);
        let Some(step) = number("step") else { return };
        let put = |series: &mut Series, value: Option<f64>| {
            series.extend(value.map(|value| (step, value)));
        };
        match event["event"].as_str() {
            Some("step") => {
                put(&mut self.loss, number("loss"));
                put(&mut self.grad_norm, number("grad_norm"));
                put(&mut self.lr, number("lr"));
                put(&mut self.speed, number("tokens_per_second"));
                put(&mut self.mfu, percent("mfu"));
                put(&mut self.matmul_utilization, percent("matmul_utilization"));
                self.memory = self.memory.max(number("memory_in_use").unwrap_or(0.0));
                self.tokens += number("tokens").unwrap_or(0.0);
                self.seconds += number("seconds").unwrap_or(0.0);
            }
            Some("validated") => put(&mut self.validation, number("loss")),
            Some("scored") => put(&mut self.score, percent("score")),
            Some("measured") => {
                let scores = event["scores"].as_object().into_iter().flatten();
                self.measured = scores
                    .filter_map(|(name, score)| Some((name.clone(), 100.0 * score.as_f64()?)))
                    .collect();
            }
            Some("guarded") if event["answer"] == "skip" => self.skipped += 1,
            _ => {}
        }
    }

    /// The value of a key of the recipe, such as `run.device`; empty if it is not set.
    pub(super) fn of_recipe(&self, section: &str, key: &str) -> String {
        let recipe: Option<toml::Table> = self.recipe.parse().ok();
        let value = recipe.as_ref().and_then(|recipe| recipe.get(section)?.get(key));
        value
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .unwrap_or_default()
    }
}

/// The exponential moving mean of a series, corrected for its start at 0.
pub(super) fn smoothed(series: &[(f64, f64)]) -> Series {
    let (mut mean, mut weight) = (0.0, 0.0);
    let step = |&(step, value): &(f64, f64)| {
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * value;
        weight = SMOOTHING * weight + (1.0 - SMOOTHING);
        (step, mean / weight)
    };
    series.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smoothed_loss_starts_at_the_first_and_follows() {
        let steady: Series = (0..5).map(|step| (f64::from(step), 3.0)).collect();
        assert!(smoothed(&steady).iter().all(|(_, value)| (value - 3.0).abs() < 1e-12));
        let found = smoothed(&[(1.0, 1.0), (2.0, 2.0)]);
        assert_eq!(found[0], (1.0, 1.0));
        // (0.9 · 0.1 · 1 + 0.1 · 2) / 0.19
        assert!((found[1].1 - 0.29 / 0.19).abs() < 1e-12);
    }

    #[test]
    fn unfinished_and_damaged_lines_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| fs_err::write(folder.path().join("metrics.jsonl"), text).unwrap();
        let step = r#"{"event":"step","step":1,"loss":2.0,"tokens":10,"seconds":0.5,"mfu":null}"#;
        let measured = r#"{"event":"measured","step":1,"scores":{"demo strict F1":0.5}}"#;
        write(&format!(
            "{step}\n{{\"event\":\"scored\",\"step\":1,\"score\":0.25}}\n{measured}\n{{\"eve"
        ));
        let course = Course::read(folder.path()).unwrap();
        assert_eq!(course.measured["demo strict F1"], 50.0);
        assert_eq!((course.loss, course.score), (vec![(1.0, 2.0)], vec![(1.0, 25.0)]));
        assert!(course.mfu.is_empty() && course.lr.is_empty());
        write(&format!("{{\"eve\n{step}\n"));
        assert_eq!(Course::read(folder.path()).unwrap().loss, [(1.0, 2.0)]);
        fs_err::write(
            folder.path().join("metrics.jsonl"),
            [b"\xff\xfe\n", step.as_bytes(), b"\n"].concat(),
        )
        .unwrap();
        assert_eq!(Course::read(folder.path()).unwrap().loss, [(1.0, 2.0)]);
    }
}
