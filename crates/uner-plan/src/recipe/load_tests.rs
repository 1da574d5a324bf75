use super::*;
use crate::recipe::RecipeError;

fn quickstart() -> RecipeText {
    RecipeText {
        origin: "recipes/quickstart.toml".to_owned(),
        text: builtin::recipe("quickstart").unwrap().to_owned(),
        folder: PathBuf::new(),
    }
}

/// The quickstart recipe with one piece of text replaced, and the line of that text.
fn with(old: &str, new: &str) -> (RecipeText, usize) {
    let mut source = quickstart();
    assert_eq!(source.text.matches(old).count(), 1, "`{old}`");
    let line = source.text[..source.text.find(old).unwrap()].matches('\n').count() + 1;
    source.text = source.text.replace(old, new);
    (source, line)
}

fn set(overrides: &[&str]) -> Result<Recipe, RecipeError> {
    let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    parse(&quickstart(), &overrides)
}

fn message(source: &RecipeText) -> String {
    parse(source, &[]).unwrap_err().to_string()
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let (source, line) = with("max_seq_len = 256", "max_sequence_len = 256");
    let message = message(&source);
    let expected = format!(
        "recipes/quickstart.toml:{line}: unknown key `train.max_sequence_len`; did you mean `max_seq_len`?; known here are "
    );
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn an_unknown_section_is_named() {
    let (source, line) = with("[infer]", "[inference]");
    let message = message(&source);
    let expected =
        format!("recipes/quickstart.toml:{line}: unknown key `inference`; did you mean `infer`?");
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn unknown_keys_inside_lists_have_their_line_too() {
    let (source, line) = with("split = \"validation\"", "splitt = \"validation\"");
    let message = message(&source);
    let expected = format!(
        "recipes/quickstart.toml:{line}: unknown key `data.validation[0].splitt`; did you mean `split`?"
    );
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn a_wrong_type_shows_the_value_and_what_is_expected() {
    let (source, line) = with("lr = 2e-3 ", "lr = \"fast\" ");
    assert_eq!(
        message(&source),
        format!(
            "recipes/quickstart.toml:{line}: `train.lr`: invalid type: string \"fast\", expected a number"
        )
    );
    let (source, line) = with("seed = 1 ", "seed = 1.5 ");
    assert_eq!(
        message(&source),
        format!(
            "recipes/quickstart.toml:{line}: `run.seed`: invalid type: floating point `1.5`, expected a whole number from 0 to 9223372036854775807"
        )
    );
}

#[test]
fn a_missing_key_is_named_with_its_section() {
    let (source, line) = with("dir = \"checkpoints/quickstart\" ", "# ");
    let section = line - 1;
    assert_eq!(
        message(&source),
        format!("recipes/quickstart.toml:{section}: `run.dir` is missing; a recipe must set it")
    );
}

/// The shortest recipe for a user's own data.
const SHORTEST: &str = r#"
[run]
dir = "checkpoints/mine"
[model]
weights = "models/base"
[[data.train]]
dataset = "data/mine.toml"
split = "train"
[[eval.benchmarks]]
dataset = "data/mine.toml"
split = "test"
"#;

#[test]
fn ten_lines_are_a_recipe_and_the_other_keys_are_listed() {
    let source = RecipeText {
        origin: "mine.toml".to_owned(),
        text: SHORTEST.to_owned(),
        folder: "/project".into(),
    };
    assert_eq!(source.text.trim().lines().count(), 10);
    let device: Override = "run.device=webgpu:cpu".parse().unwrap();
    let recipe = parse(&source, std::slice::from_ref(&device)).unwrap();
    assert_eq!(recipe.run.dir, Path::new("/project/checkpoints/mine"));
    assert_eq!(recipe.data.root, Path::new("/project/data"));
    assert_eq!(recipe.model.weights, "/project/models/base");
    let defaults = defaults(&source, &[device], &recipe);
    for key in [
        "run.seed = 1",
        "prompt.template = \"zero-shot\"",
        "train.lr = 2e-5",
        "train.schedule = \"cosine\"",
    ] {
        assert!(defaults.iter().any(|default| default == key), "`{key}` is not in {defaults:#?}");
    }
    assert!(defaults.iter().all(|default| !default.starts_with("run.d")), "{defaults:#?}");
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    let text = "[run]\n[model]\nweights = 3\n[[data.train]]\n[[data.train]]\ndataset = \"demo\"\n[[data.validation]]\n[train]\nlr = \"x\"\n\
                epochs = \"y\"\nschedule = \"zz\"\n[train.guards]\n[train.best]\n[eval.during]\n[[eval.benchmarks]]\n";
    let message = message(&RecipeText {
        origin: "mine.toml".to_owned(),
        text: text.to_owned(),
        folder: PathBuf::new(),
    });
    for part in [
        "`run.dir` is missing",
        "`model.weights`: invalid type",
        "`data.train[0].dataset` is missing",
        "`data.train[0].split` is missing",
        "`data.train[1].split` is missing",
        "`data.validation[0].dataset` is missing",
        "`train.lr`: invalid type",
        "`train.epochs`: invalid type",
        "`train.schedule` is `zz`",
        "`train.guards.non_finite` is missing",
        "`train.guards.spike_window` is missing",
        "`train.best.by` is missing",
        "`eval.during.every` is missing",
        "`eval.benchmarks[0].dataset` is missing",
        "`eval.benchmarks[0].split` is missing",
    ] {
        assert!(message.contains(part), "`{part}` is not in {message}");
    }
}

#[test]
fn paths_of_overrides_are_relative_to_the_current_folder() {
    let source = RecipeText { folder: "/project".into(), ..quickstart() };
    let recipe = parse(&source, &["run.dir=x".parse().unwrap()]).unwrap();
    assert_eq!((recipe.run.dir, recipe.data.root), ("x".into(), "/project/data".into()));
}

#[test]
fn all_missing_and_unknown_keys_are_named_at_once() {
    let text = "[run]\ndir = \"x\"\nsed = 1\n[models]\n[train]\nlr = 1e-3\n";
    let message = message(&RecipeText {
        origin: "mine.toml".to_owned(),
        text: text.to_owned(),
        folder: PathBuf::new(),
    });
    for part in [
        "`run.sed`",
        "did you mean `seed`",
        "`models`",
        "`data` is missing",
        "`model.weights` is missing",
    ] {
        assert!(message.contains(part), "`{part}` is not in {message}");
    }
    assert!(
        message.starts_with("mine.toml: ") && message.contains(" keys are missing or wrong:"),
        "{message}"
    );
}

#[test]
fn a_wrong_word_is_named_with_the_nearest_right_one() {
    let (source, line) = with("schedule = \"linear\"", "schedule = \"linar\"");
    assert_eq!(
        message(&source),
        format!(
            "recipes/quickstart.toml:{line}: `train.schedule` is `linar`; did you mean `linear`?; it must be one of `constant`, \
             `linear`, `cosine`"
        )
    );
}

#[test]
fn what_is_not_toml_has_its_line() {
    let (source, line) = with("[prompt]", "[prompt");
    let message = message(&source);
    assert!(message.starts_with(&format!("recipes/quickstart.toml:{line}: ")), "{message}");
}

#[test]
fn overrides_are_typed_by_the_schema() {
    let recipe = set(&[
        "train.lr=1e-5",
        "train.epochs=2",
        "train.max_steps=7",
        "train.save_every=3",
        "train.global_batch_size=5",
        "train.max_seq_len=128",
        "run.dir=2024",
        "run.seed=9",
        "model.weights=some/folder",
        "data.root=\"my data\"",
        "eval.benchmarks=[{dataset = \"demo\", split = \"test\", limit = 3}]",
        "train.lr=2e-5",
    ])
    .unwrap();
    let train = &recipe.train;
    assert_eq!((train.lr, train.epochs, train.max_steps), (2e-5, 2.0, Some(7)));
    assert_eq!((train.save_every, train.global_batch_size, train.max_seq_len), (3, 5, 128));
    assert_eq!((recipe.run.dir.to_str(), recipe.run.seed), (Some("2024"), 9));
    assert_eq!(
        (recipe.model.weights.as_str(), recipe.data.root.to_str()),
        ("some/folder", Some("my data"))
    );
    assert_eq!(recipe.eval.benchmarks[0].limit, Some(3));
}

#[test]
fn a_wrong_override_is_named_as_it_was_written() {
    let message = set(&["train.lrr=1e-5"]).unwrap_err().to_string();
    assert!(
        message.starts_with("`--set train.lrr=1e-5`: unknown key `train.lrr`; did you mean `lr`?"),
        "{message}"
    );
    let message = set(&["train.lr=fast"]).unwrap_err().to_string();
    assert_eq!(
        message,
        "`--set train.lr=fast`: `train.lr`: invalid type: string \"fast\", expected a number"
    );
    assert!("lr".parse::<Override>().is_err() && "lr=1".parse::<Override>().is_err());
}

#[test]
fn a_missing_recipe_is_named_with_the_nearest_one() {
    let message = find("quikstart").unwrap_err().to_string();
    assert!(
        message.contains("`quikstart` does not exist")
            && message.contains("did you mean `quickstart`?"),
        "{message}"
    );
    assert!(find("no/such.toml").unwrap_err().to_string().contains("no/such.toml"));
}

#[test]
fn a_tilde_is_the_home_folder() {
    let home = std::env::home_dir().unwrap();
    let recipe = set(&["run.dir=~/runs/x", "model.weights=~/llama", "data.root=~"]).unwrap();
    assert_eq!((recipe.run.dir, recipe.data.root), (home.join("runs/x"), home.clone()));
    assert_eq!(recipe.model.weights, home.join("llama").display().to_string());
    assert_eq!(set(&["run.dir=a~/b"]).unwrap().run.dir, std::path::Path::new("a~/b"));
}
