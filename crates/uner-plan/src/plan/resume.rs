//! Compares the plan of a checkpoint with the plan of the run that resumes it.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};
use uner_trainer::PrecisionConfig;
use uner_trainer::step::schedule::lr_at;

use super::{DataSize, Plan};
use crate::recipe::{from_run, normalised};

/// Whether a key of the recipe may change when a run is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It may change: it says where and how the run computes, saves and is measured.
    Free,
    /// It may change if the command line sets it again.
    SetAgain,
    /// As [`Rule::SetAgain`] if the change affects the learning rate of the next step; else free.
    Length,
    /// It must not change.
    Fixed,
}

/// Rules of keys and of whole sections; the first match applies. Any other key may change if it is
/// set again.
const RULES: [(&str, Rule); 21] = [
    ("run.dir", Rule::Free),
    ("run.device", Rule::Free),
    ("run.memory", Rule::Free),
    ("run.seed", Rule::Fixed),
    // The checkpoint compares the content of the data instead, by its fingerprint.
    ("data.root", Rule::Free),
    ("data.expected_conversations", Rule::Free),
    ("infer", Rule::Free),
    ("eval", Rule::Free),
    ("train.micro_batch_rows", Rule::Free),
    ("train.save_every", Rule::Free),
    ("train.keep_last", Rule::Free),
    ("train.validate_every", Rule::Free),
    ("train.checkpoint", Rule::Free),
    ("train.best", Rule::Free),
    ("train.guards", Rule::Free),
    ("train.epochs", Rule::Length),
    ("train.max_steps", Rule::Length),
    ("train", Rule::Fixed),
    ("model.adapter", Rule::Fixed),
    ("model.base", Rule::Fixed),
    ("dimensions", Rule::Fixed),
];

/// Prefix of the keys of the model's dimensions, which are compared like a section.
const DIMENSIONS: &str = "dimensions.";
/// The value of a key that is absent.
const UNSET: &str = "not set";

/// A key whose value has changed.
#[derive(Debug)]
struct Change {
    key: String,
    then: String,
    now: String,
}

impl std::fmt::Display for Change {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, then, now } = self;
        let (of, key) =
            key.strip_prefix(DIMENSIONS).map_or(("", key.as_str()), |key| ("the model's ", key));
        write!(out, "{of}`{key}` was `{then}` and is now `{now}`")
    }
}

impl Plan {
    /// Refuses to resume a run with the plan `then` at step `step` if the result would differ from
    /// that of the uninterrupted run. `is_set` returns whether the command line sets a key. Returns
    /// warnings about the changes that it allows.
    ///
    /// # Errors
    /// Names the key, both values, and what to do.
    pub fn check_resumable(
        &self,
        then: &Self,
        step: u64,
        is_set: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, String> {
        let mut warnings = Vec::new();
        for change in changes(then, self) {
            let key = change.key.as_str();
            match rule(key) {
                Rule::Free => {}
                Rule::Fixed => {
                    return Err(format!(
                        "{change}; set it back, or start a new run with `model.weights` set to \
                         this folder"
                    ));
                }
                Rule::SetAgain if is_set(key) => {
                    warnings.push(format!("{change} in the recipe of this run"));
                }
                Rule::SetAgain => {
                    return Err(format!(
                        "{change} in the recipe of this run; set it back, or confirm it with `--set`"
                    ));
                }
                Rule::Length => warnings.extend(self.check_length(then, step, &change, &is_set)?),
            }
        }
        Ok(warnings)
    }

    /// Refuses a new length that changes the learning rate of the next step, unless the command
    /// line sets it.
    fn check_length(
        &self,
        then: &Self,
        step: u64,
        change: &Change,
        is_set: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, String> {
        let Change { key, then: before, now } = change;
        let rate = |plan: &Self| match self.data.size {
            DataSize::Counted { conversations, .. } | DataSize::Expected { conversations } => {
                lr_at(&plan.recipe.train, step, conversations)
            }
            DataSize::Unknown => 0.0,
        };
        let (was, will) = (rate(then), rate(self));
        if was == will {
            return Ok(None);
        }
        let rates = format!(
            "the learning rate of the next step would have been {was:.3e} and will be {will:.3e}"
        );
        if is_set(key) {
            return Ok(Some(format!("{change}: {rates}")));
        }
        let back = if before == UNSET {
            "remove it".to_owned()
        } else {
            format!("set it back to `{before}`")
        };
        let again = if now == UNSET {
            String::new()
        } else {
            format!(", or confirm it with `--set {key}={now}`")
        };
        Err(format!("{change}: {rates}; {back}{again}"))
    }
}

fn rule(key: &str) -> Rule {
    let covers = |name: &str| {
        key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
    };
    RULES.iter().find(|(name, _)| covers(name)).map_or(Rule::SetAgain, |(_, rule)| *rule)
}

/// Lists the keys that differ between two recipes, or between the dimensions of their models.
///
/// Two paths are equal if they are the same, or if they are the same relative to the run's folder
/// (in a project that was moved).
fn changes(then: &Plan, now: &Plan) -> Vec<Change> {
    let differ = |view: fn(Table) -> Table| {
        let [then, now] = [then, now].map(|plan| flat(&Value::Table(view(compared(plan)))));
        let keys: BTreeSet<String> = then.keys().chain(now.keys()).cloned().collect();
        let value = |values: &BTreeMap<String, String>, key: &str| {
            values.get(key).map_or(UNSET, String::as_str).to_owned()
        };
        let change =
            move |key: String| Change { then: value(&then, &key), now: value(&now, &key), key };
        keys.into_iter().map(change).filter(|change| change.then != change.now)
    };
    let moved: BTreeSet<String> = differ(from_run).map(|change| change.key).collect();
    differ(normalised).filter(|change| moved.contains(&change.key)).collect()
}

/// The part of a plan that is compared: its recipe, and the model's dimensions.
fn compared(plan: &Plan) -> Table {
    let mut recipe = plan.recipe.clone();
    // A recipe without this section has its defaults.
    recipe.train.precision.get_or_insert_with(PrecisionConfig::default);
    let mut dimensions = plan.model.clone();
    // Special tokens come from the tokenizer, but the base of an adapter keeps its own.
    (dimensions.bos_token_id, dimensions.pad_token_id) = (None, None);
    dimensions.eos_token_id.clear();
    let mut table = Table::try_from(recipe).expect("a recipe is TOML");
    let dimensions = Table::try_from(dimensions).expect("dimensions are TOML");
    table.insert("dimensions".to_owned(), dimensions.into());
    table
}

/// Every value by its full name, such as `train.lr`; a list is one value.
fn flat(value: &Value) -> BTreeMap<String, String> {
    fn walk(name: &str, value: &Value, values: &mut BTreeMap<String, String>) {
        match value {
            Value::Table(table) => {
                for (key, value) in table {
                    let whole = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                    walk(&whole, value, values);
                }
            }
            Value::String(text) => drop(values.insert(name.to_owned(), text.clone())),
            other => drop(values.insert(name.to_owned(), other.to_string())),
        }
    }
    let mut values = BTreeMap::new();
    walk("", value, &mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;
    use uner_trainer::{MomentFormat, Rounding};

    /// Resumes at step 10 with a changed plan.
    fn resumed(change: impl Fn(&mut Plan), set: &str) -> Result<Vec<String>, String> {
        let then = plan();
        let mut now = then.clone();
        change(&mut now);
        now.check_resumable(&then, 10, |key| key == set)
    }

    #[test]
    fn every_rule_is_of_a_key_that_there_is() {
        let mut plan = plan();
        plan.recipe.run.memory = Some(crate::recipe::MemoryConfig { limit_gib: 1.0 });
        let keys: BTreeSet<String> = flat(&Value::Table(compared(&plan))).into_keys().collect();
        let optional = ["data.expected_conversations", "model.adapter", "model.base"];
        let optional =
            [&optional[..], &["train.checkpoint", "train.best", "train.guards"]].concat();
        for (name, _) in RULES {
            let is_key = keys.iter().any(|key| key == name || key.starts_with(&format!("{name}.")));
            assert!(is_key || optional.contains(&name) || name == "train.max_steps", "{name}");
        }
    }

    #[test]
    fn a_change_of_the_result_is_refused() {
        let refused = |change: fn(&mut Plan)| resumed(change, "").unwrap_err();
        let message = refused(|plan| plan.recipe.train.lr = 0.5);
        assert!(message.starts_with("`train.lr` was `0.00002` and is now `0.5`"), "{message}");
        let message = refused(|plan| plan.recipe.run.seed = 77);
        assert!(message.starts_with("`run.seed` was `42` and is now `77`"), "{message}");
        let message = refused(|plan| plan.model.rms_norm_eps = 0.25);
        assert!(message.starts_with("the model's `rms_norm_eps` was"), "{message}");
        let message = refused(|plan| {
            let precision =
                PrecisionConfig { moments: MomentFormat::EightBit, rounding: Rounding::Nearest };
            plan.recipe.train.precision = Some(precision);
        });
        assert!(
            message.contains("`train.precision.moments` was `f32` and is now `8bit`"),
            "{message}"
        );
        let same = |plan: &mut Plan| plan.recipe.train.precision = Some(PrecisionConfig::default());
        assert_eq!(resumed(same, ""), Ok(Vec::new()));
        // Even if the command line sets it.
        resumed(|plan| plan.recipe.train.lr = 0.5, "train.lr").unwrap_err();
    }

    #[test]
    fn a_change_that_was_set_again_is_allowed_with_a_warning() {
        let change = |plan: &mut Plan| plan.recipe.data.negatives.ratio = 3.5;
        let message = resumed(change, "").unwrap_err();
        assert!(message.contains("confirm it with `--set`"), "{message}");
        let warnings = resumed(change, "data.negatives.ratio").unwrap();
        assert!(warnings[0].contains("`data.negatives.ratio` was"), "{warnings:?}");
    }

    #[test]
    fn a_change_of_where_and_how_often_is_free() {
        let change = |plan: &mut Plan| {
            plan.recipe.train.save_every = 77;
            plan.recipe.run.device = "flex,flex".parse().unwrap();
            plan.recipe.eval.benchmarks.clear();
            plan.machine.ranks = 2;
        };
        assert_eq!(resumed(change, ""), Ok(Vec::new()));
    }

    #[test]
    fn another_length_is_refused_where_the_learning_rate_depends_on_it() {
        let longer = |plan: &mut Plan| plan.recipe.train.max_steps = Some(99);
        let message = resumed(longer, "").unwrap_err();
        assert!(message.contains("`train.max_steps` was"), "{message}");
        assert!(message.contains("--set train.max_steps=99"), "{message}");
        let warnings = resumed(longer, "train.max_steps").unwrap();
        assert!(warnings[0].contains("the learning rate of the next step"), "{warnings:?}");
        // A length that was removed can only be set back.
        let then = Plan {
            recipe: {
                let mut plan = plan();
                longer(&mut plan);
                plan.recipe
            },
            ..plan()
        };
        let message = plan().check_resumable(&then, 10, |_| false).unwrap_err();
        assert!(!message.contains("=not set"), "{message}");
    }
}
