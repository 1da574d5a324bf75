//! Reads a run's `metrics.jsonl` as series over steps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use uner_trainer::{Event, GuardAction};

/// Weight of the previous mean in the smoothed loss; the rest is the weight of the step's own loss.
pub(super) const SMOOTHING: f64 = 0.9;

/// Metrics that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file system failed; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The folder has no `metrics.jsonl`.
    #[error("`{0}` does not exist: name the folder of a run that has started to train")]
    NoMetrics(PathBuf),
    /// `metrics.jsonl` has no step.
    #[error("`{0}` has no step yet")]
    NoStep(PathBuf),
}

/// Pairs of step and value.
pub type Series = Vec<(f64, f64)>;

/// The metrics of a run.
#[derive(Debug, Default)]
pub struct Course {
    /// The run's folder.
    pub name: String,
    /// Its recipe as it was written; empty if there is none.
    pub recipe: String,
    /// Mean loss of the trained tokens.
    pub loss: Series,
    /// Norm of the gradient before clipping.
    pub grad_norm: Series,
    /// Learning rate.
    pub lr: Series,
    /// Tokens a second.
    pub speed: Series,
    /// Model FLOPs utilisation, in percent.
    pub mfu: Series,
    /// Share of the measured rate of matrix products, in percent.
    pub matmul_utilization: Series,
    /// Loss of the validation set.
    pub validation: Series,
    /// F1 of the evaluations during training, in percent.
    pub score: Series,
    /// Scores of the trained model by name, in percent.
    pub measured: BTreeMap<String, f64>,
    /// The most bytes in use.
    pub memory: f64,
    /// Tokens of all steps.
    pub tokens: f64,
    /// Seconds of all steps.
    pub seconds: f64,
    /// Steps that were skipped because of a guard.
    pub skipped: usize,
}

impl Course {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// When it has no metrics, or no step.
    pub fn read(run: &Path) -> Result<Self, ReportError> {
        let path = run.join("metrics.jsonl");
        if !path.is_file() {
            return Err(ReportError::NoMetrics(path));
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
            return Err(ReportError::NoStep(path));
        }
        Ok(course)
    }

    fn add(&mut self, event: &Event) {
        let step = event.step() as f64;
        let percent = |fraction: f64| 100.0 * fraction;
        match event {
            Event::Step(metrics) => {
                self.loss.push((step, metrics.loss));
                self.grad_norm.push((step, metrics.grad_norm));
                self.lr.push((step, metrics.lr));
                self.speed.push((step, metrics.tokens_per_second));
                self.mfu.extend(metrics.mfu.map(|fraction| (step, percent(fraction))));
                let utilization = metrics.matmul_utilization;
                self.matmul_utilization
                    .extend(utilization.map(|fraction| (step, percent(fraction))));
                self.memory = self.memory.max(metrics.memory_in_use.unwrap_or(0) as f64);
                self.tokens += metrics.tokens as f64;
                self.seconds += metrics.seconds;
            }
            Event::Validated { loss, .. } => self.validation.push((step, *loss)),
            Event::Scored { score, .. } => self.score.push((step, percent(*score))),
            Event::Measured { scores, .. } => {
                self.measured =
                    scores.iter().map(|(name, score)| (name.clone(), percent(*score))).collect();
            }
            Event::Guarded(report) if report.answer == GuardAction::Skip => self.skipped += 1,
            Event::Guarded(_) | Event::Stopped { .. } | Event::Saved { .. } => {}
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
        let step = r#"{"event":"step","step":1,"epoch":0.5,"loss":2.0,"grad_norm":1.0,"lr":0.1,"tokens":10,
            "trained_tokens":5,"rows":1,"dropped_queries":0,"seconds":0.5,"data_wait_seconds":0.0,
            "tokens_per_second":20.0,"mfu":null}"#
            .replace('\n', "");
        let measured = r#"{"event":"measured","step":1,"scores":{"demo strict F1":0.5}}"#;
        write(&format!(
            "{step}\n{{\"event\":\"scored\",\"step\":1,\"score\":0.25,\"seconds\":0.1}}\n{measured}\n{{\"eve"
        ));
        let course = Course::read(folder.path()).unwrap();
        assert_eq!(course.measured["demo strict F1"], 50.0);
        assert_eq!((course.loss, course.score), (vec![(1.0, 2.0)], vec![(1.0, 25.0)]));
        assert!(course.mfu.is_empty() && course.lr == [(1.0, 0.1)]);
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
