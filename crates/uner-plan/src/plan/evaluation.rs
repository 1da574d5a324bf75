//! `[eval.during]` as a line of the plan.

use uner_trainer::{BestConfig, Measure};

use super::Steps;
use crate::recipe::{Benchmark, During, Recipe};

/// Describes the benchmarks that are run during training; `None` without `[eval.during]`.
pub(super) fn during_line(recipe: &Recipe, steps: Option<Steps>) -> Option<String> {
    let During { every, benchmarks } = recipe.eval.during.as_ref()?;
    let benchmarks: Vec<String> = benchmarks.iter().map(described).collect();
    let times = steps
        .map_or_else(String::new, |steps| format!(" ({} times)", steps.total.div_ceil(*every)));
    let best = match recipe.train.best {
        Some(BestConfig { by: Measure::Score, patience }) => {
            let stop = patience.map(|patience| {
                format!(", and the run stops when {patience} measurements in a row were not better")
            });
            format!("; the best checkpoint is kept{}", stop.unwrap_or_default())
        }
        _ => String::new(),
    };
    Some(format!(
        "F1 every {every} steps and after the last{times} on {}{best}",
        benchmarks.join(", ")
    ))
}

fn described(benchmark: &Benchmark) -> String {
    let Benchmark { dataset, split, limit } = benchmark;
    let name =
        dataset.resolve().map_or_else(|_| "an unknown dataset".to_owned(), |dataset| dataset.name);
    let limit = limit.map_or_else(String::new, |limit| format!(", the first {limit} examples"));
    format!("{name} ({split}{limit})")
}
