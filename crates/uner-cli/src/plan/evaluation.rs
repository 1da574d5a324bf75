//! Whether what a recipe compares is ever measured.

use uner_trainer::Measure;

use crate::recipe::{Recipe, RecipeError};

/// Refuses `[eval.during]` and `[train.best]` that do not fit together, or the data.
pub(super) fn check(recipe: &Recipe) -> Result<(), RecipeError> {
    let contradiction = |problem: &str| Err(RecipeError::Contradiction(problem.to_owned()));
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
