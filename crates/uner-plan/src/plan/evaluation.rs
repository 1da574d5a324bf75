//! What a recipe measures while it trains, and whether what it compares is ever measured.

use uner_trainer::{BestConfig, Measure};

use super::Steps;
use crate::recipe::{Benchmark, During, Recipe, RecipeError};

/// What is measured while the model is trained, where the recipe says so.
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

/// Refuses `[eval.during]` and `[train.best]` that do not fit together, or the data.
pub(super) fn check(recipe: &Recipe) -> Result<(), RecipeError> {
    let contradiction = |problem: &str| Err(RecipeError::Contradiction(problem.to_owned()));
    let during = recipe.eval.during.iter().flat_map(|during| &during.benchmarks);
    if recipe.eval.benchmarks.iter().chain(during).any(|benchmark| benchmark.limit == Some(0)) {
        return contradiction(
            "the `limit` of a benchmark is 0; it must be at least 1, or leave it out",
        );
    }
    if let Some(during) = &recipe.eval.during {
        if during.every == 0 {
            return contradiction(
                "`eval.during.every` is 0; it must be at least 1, or leave `[eval.during]` out",
            );
        }
        if during.benchmarks.is_empty() {
            return contradiction(
                "`eval.during.benchmarks` names no benchmark; add one, or leave `[eval.during]` out",
            );
        }
    }
    match recipe.train.best.map(|best| best.by) {
        Some(Measure::Score) if recipe.eval.during.is_none() => contradiction(
            "`train.best.by` is `f1`, but there is no `[eval.during]` that measures it; add one, or compare by \
             `validation-loss`",
        ),
        Some(Measure::ValidationLoss) if recipe.data.validation.is_empty() => contradiction(
            "`train.best.by` is `validation-loss`, but there is no `[[data.validation]]` to compute it on; add one, or \
             compare by `f1`",
        ),
        _ => Ok(()),
    }
}
