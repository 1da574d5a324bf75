//! Refuses values of a recipe that are invalid or contradict each other.

use uner_data::negative::Strategy;
use uner_data::negative::hard::HardConfig;
use uner_trainer::{Measure, TrainConfig};

use super::{EvalConfig, Head, Recipe, RecipeError};

/// Refuses a recipe that cannot be trained, whatever its files contain.
///
/// # Errors
/// Names the key at fault; all keys of `[train]` at once.
pub(crate) fn check(recipe: &Recipe) -> Result<(), RecipeError> {
    check_values(recipe)?;
    check_training(&recipe.train)?;
    check_negatives(recipe)?;
    check_evaluation(&recipe.eval, &recipe.train, !recipe.data.validation.is_empty())
}

/// Refuses values that no run can train with.
pub(super) fn check_training(train: &TrainConfig) -> Result<(), RecipeError> {
    let problems: Vec<String> = train.problems().iter().map(ToString::to_string).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(RecipeError::Contradiction(problems.join("\n       ")))
}

fn check_values(recipe: &Recipe) -> Result<(), RecipeError> {
    let paths =
        [("run.dir", recipe.run.dir.as_os_str()), ("model.weights", recipe.model.weights.as_ref())];
    if let Some((key, _)) = paths.iter().find(|(_, path)| path.is_empty()) {
        return Err(RecipeError::Contradiction(format!("`{key}` is empty; name a folder")));
    }
    if recipe.infer.queries_per_batch == 0 {
        return Err(RecipeError::Contradiction(
            "`infer.queries_per_batch` is 0; it must be at least 1".to_owned(),
        ));
    }
    if recipe.model.head == Some(Head::Tags) {
        return Err(RecipeError::Contradiction(
            "`model.head` is `tags`, which is the recipe of a token classifier".to_owned(),
        ));
    }
    match recipe.run.memory.map(|memory| memory.limit_gib) {
        Some(limit) if !(limit > 0.0 && limit.is_finite()) => Err(RecipeError::Contradiction(
            format!("`run.memory.limit_gib` is {limit}; it must be a positive number"),
        )),
        _ => Ok(()),
    }
}

fn check_negatives(recipe: &Recipe) -> Result<(), RecipeError> {
    let ratio = recipe.data.negatives.ratio;
    if !(ratio >= 0.0 && ratio.is_finite()) {
        return Err(RecipeError::Contradiction(format!(
            "`data.negatives.ratio` is {ratio}; it must be a number of 0 or more"
        )));
    }
    if let Some(HardConfig { share, .. }) = &recipe.data.hard_negatives {
        check_hard_negatives(*share, recipe.data.negatives.strategy)?;
    }
    match recipe.data.wordings.and_then(|wordings| wordings.problem()) {
        Some(problem) => Err(RecipeError::Contradiction(format!("`data.wordings`: {problem}"))),
        None => Ok(()),
    }
}

fn check_hard_negatives(share: f64, strategy: Strategy) -> Result<(), RecipeError> {
    if !(0.0..=1.0).contains(&share) {
        return Err(RecipeError::Contradiction(format!(
            "`data.hard_negatives.share` is {share}; it must be from 0 to 1"
        )));
    }
    match strategy {
        Strategy::Uniform | Strategy::Frequency => Ok(()),
        Strategy::None | Strategy::ClosedWorld => Err(RecipeError::Contradiction(
            "`data.hard_negatives` needs the strategy `uniform` or `frequency`: the others draw no \
             absent types"
                .to_owned(),
        )),
    }
}

/// Refuses `[eval.during]` and `[train.best]` if they contradict each other or the data.
pub(super) fn check_evaluation(
    eval: &EvalConfig,
    train: &TrainConfig,
    has_validation: bool,
) -> Result<(), RecipeError> {
    let contradiction = |problem: &str| Err(RecipeError::Contradiction(problem.to_owned()));
    let during = eval.during.iter().flat_map(|during| &during.benchmarks);
    if eval.benchmarks.iter().chain(during).any(|benchmark| benchmark.limit == Some(0)) {
        return contradiction(
            "the `limit` of a benchmark is 0; it must be at least 1, or leave it out",
        );
    }
    if let Some(during) = &eval.during {
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
    match train.best.map(|best| best.by) {
        Some(Measure::Score) if eval.during.is_none() => contradiction(
            "`train.best.by` is `f1`, but there is no `[eval.during]` that measures it; add one, or compare by \
             `validation-loss`",
        ),
        Some(Measure::ValidationLoss) if !has_validation => contradiction(
            "`train.best.by` is `validation-loss`, but there is no `[[data.validation]]` to compute it on; add one, or \
             compare by `f1`",
        ),
        _ => Ok(()),
    }
}
