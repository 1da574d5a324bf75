//! Recipes that cannot be used: exit code 2, and nothing is written.

use crate::{Desk, MODEL, Outcome, RECIPE, fixture};

/// The outcome of the recipe with one piece of text replaced.
fn with(old: &str, new: &str) -> Outcome {
    let desk = Desk::new();
    assert!(RECIPE.contains(old), "`{old}`");
    desk.write("tiny.toml", &RECIPE.replacen(old, new, 1));
    let outcome = desk.train(&[]);
    assert!(!desk.path("run").exists(), "a run folder was made");
    assert_eq!(outcome.stdout, "");
    outcome
}

#[test]
fn an_unknown_key() {
    with("lr = 1e-3", "lrr = 1e-3")
        .fails(2, &["tiny.toml:27: unknown key `train.lrr`; did you mean `lr`?"]);
}

#[test]
fn a_wrong_type() {
    with("lr = 1e-3", "lr = \"fast\"")
        .fails(2, &["tiny.toml:27: `train.lr`: invalid type: string \"fast\", expected a number"]);
}

#[test]
fn a_value_that_cannot_be_trained_with() {
    with("lr = 1e-3", "lr = -1").fails(2, &["`train.lr` must be a positive number, not `-1`"]);
    with("lr = 1e-3", "lr = 1e-320")
        .fails(2, &["`train.lr` must be a positive number, not `1e-320`"]);
    with("lr = 1e-3", "lr = 1e31\nbeta3 = 1").fails(2, &["unknown key `train.beta3`"]);
    with("beta1 = 0.9\nbeta2 = 0.999", "beta1 = 5\nbeta2 = 7").fails(
        2,
        &[
            "`train.beta1` must be at least 0",
            "`train.beta2` must be at least 0 and below 1, not `7`",
        ],
    );
    with("ratio = 1.0", "ratio = -1").fails(2, &["`data.negatives.ratio` is -1"]);
}

#[test]
fn what_is_compared_has_to_be_measured() {
    let best = |by: &str| format!("validate_every = 2\n[train.best]\nby = \"{by}\"");
    with("validate_every = 0", &best("f1"))
        .fails(2, &["`train.best.by` is `f1`, but there is no `[eval.during]`"]);
    with("validate_every = 0", &best("validation-loss"))
        .fails(2, &["there is no `[[data.validation]]`"]);
    with("validate_every = 0", &best("loss"))
        .fails(2, &["`train.best.by` is `loss`", "`validation-loss`, `f1`"]);
    let never = best("validation-loss").replace("validate_every = 2", "validate_every = 0");
    with("validate_every = 0", &never)
        .fails(2, &["`train.best.by` is `validation-loss`, which `train.validate_every"]);
    with("validate_every = 0", "validate_every = 0\n[train.checkpoint]\nminutes = 0")
        .fails(2, &["`train.checkpoint.minutes` must be a positive number, not `0`"]);
    with("[eval]", "[eval]\nduring = { every = 0, benchmarks = [] }")
        .fails(2, &["`eval.during.every` is 0"]);
    with("[eval]", "[eval]\nduring = { every = 1, benchmarks = [] }")
        .fails(2, &["`eval.during.benchmarks` names no benchmark"]);
}

#[test]
fn a_recipe_that_does_not_exist() {
    let desk = Desk::new();
    desk.uner(&["train", "--recipe", "quikstart"])
        .fails(2, &["`quikstart`", "did you mean `quickstart`?"]);
    desk.uner(&["train", "--recipe", "no/such.toml"]).fails(2, &["no/such.toml"]);
}

#[test]
fn a_dataset_that_does_not_exist() {
    with("dataset = \"demo\"", "dataset = \"mit-resturant\"")
        .fails(2, &["`mit-resturant`", "did you mean `mit-restaurant`?"]);
    with("split = \"train\"", "split = \"dev\"")
        .fails(2, &["`demo` has no split `dev`", "`validation`"]);
}

#[test]
fn a_template_that_does_not_exist() {
    with("template = \"zero-shot\"", "template = \"zero-shit\"")
        .fails(2, &["`prompt.template = \"zero-shit\"`", "did you mean `zero-shot`?"]);
}

#[test]
fn a_model_that_does_not_exist() {
    with("config = \"model.toml\"", "config = \"tiny-1\"")
        .fails(2, &["`model.config = \"tiny-1\"`", "did you mean `tiny-1k`?"]);
    with("weights = \"random\"\nconfig = \"model.toml\"", "weights = \"no/such/folder\"")
        .fails(2, &["`model.weights = \"no/such/folder\"`", "there is no such folder"]);
    with("config = \"model.toml\"", "").fails(2, &["`model.config`"]);
    with("tokenizer = \"train\"", "").fails(2, &["`model.tokenizer`"]);
}

#[test]
fn a_row_longer_than_the_window() {
    with("max_seq_len = 400", "max_seq_len = 1024")
        .fails(2, &["`train.max_seq_len` is 1024", "512"]);
    with("max_new_tokens = 4", "max_new_tokens = 600").fails(2, &["`infer.max_new_tokens` is 600"]);
}

#[test]
fn a_vocabulary_larger_than_the_embedding() {
    let desk = Desk::new();
    desk.write("model.toml", &MODEL.replace("vocab_size = 512", "vocab_size = 300"));
    let tokenizer = format!("model.tokenizer={}", fixture("llama/masks/tokenizer.json").display());
    let outcome = desk.train(&[&tokenizer]);
    outcome.fails(
        1,
        &[
            "vocabulary is larger than the embedding",
            "`vocab_size` of the model is 300",
            "model.tokenizer",
        ],
    );
    assert!(!desk.path("run/latest").exists());
}

#[test]
fn a_vocabulary_too_small_to_be_trained() {
    let desk = Desk::new();
    desk.write("model.toml", &MODEL.replace("vocab_size = 512", "vocab_size = 260"));
    desk.train(&[]).fails(1, &["vocab_size `260` is too small"]);
}
