//! Every recipe and every model configuration of the repository loads and plans, without data or
//! weights.

use std::collections::{BTreeMap, BTreeSet};

use uner_eval::reproduction::Reproduction;
use uner_plan::cost::Sharding;
use uner_plan::machine::{Machine, Ranks};
use uner_plan::plan::DataSize;
use uner_plan::recipe::{self, ALL_TYPES, EvalRecipe, Override, Recipe, RecipeText, TaggerRecipe};
use uner_plan::{Plan, Sources, builtin, missing_lines, recipe::RANDOM};
use uner_prompt::Template;
use uner_run::distill::DistillRecipe;

use crate::shared::{repository, shared};

fn names(folder: &str) -> Vec<String> {
    let entries = fs_err::read_dir(repository().join(folder)).unwrap();
    let files = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        files.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
    names.sort();
    names
}

fn source(name: &str) -> RecipeText {
    let text = builtin::recipe(name).unwrap().to_owned();
    RecipeText { origin: name.to_owned(), text, folder: "".into() }
}

/// The recipes of language models, or of token classifiers.
fn recipes(taggers: bool) -> impl Iterator<Item = &'static str> {
    let names = builtin::recipe_names().into_iter();
    names.filter(move |name| recipe::is_tagger(&source(name), &[]) == taggers)
}

fn load(name: &str, overrides: &[&str]) -> Recipe {
    let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    recipe::parse(&source(name), &overrides).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn recipes_of_evaluations_name_a_system_and_benchmarks() {
    assert_eq!(builtin::evaluation_names(), names("recipes/eval"));
    for name in builtin::evaluation_names() {
        let source = recipe::find_evaluation(name).unwrap();
        let recipe = EvalRecipe::parse(&source, &[]).unwrap();
        recipe.system().unwrap();
        assert!(!recipe.benchmarks().unwrap().is_empty(), "{name}");
        if let Some(template) = recipe.prompt.template.as_deref().filter(|name| *name != ALL_TYPES)
        {
            Template::load(template).unwrap();
        }
        assert_eq!(unexplained(&source.text), Vec::<&str>::new(), "{name}");
        let text = toml::to_string(&recipe).unwrap();
        let written = RecipeText { text, ..source };
        assert_eq!(EvalRecipe::parse(&written, &[]).unwrap(), recipe, "{name}");
    }
    let parse = |text: &str| {
        let text = format!("run.dir = \"x\"\neval.lists = [\"zero-shot-7\"]\n{text}");
        let source = RecipeText { origin: "x".to_owned(), text, folder: "".into() };
        EvalRecipe::parse(&source, &[])
    };
    let none = parse("").unwrap().system().unwrap_err().to_string();
    assert!(none.contains("not none"), "{none}");
    let both = "model.weights = \"y\"\npredictions = { name = \"z\", files = [] }";
    let both = parse(both).unwrap();
    assert!(both.system().unwrap_err().to_string().contains("not several"));
    assert!(both.benchmarks().unwrap_err().to_string().contains("0 files for 7 splits"));
    let slip = parse("endpoint = { url = \"http://a\", model = \"m\", concurrencyy = 2 }");
    let slip = slip.unwrap_err().to_string();
    assert!(slip.contains("x:3") && slip.contains("did you mean `concurrency`?"), "{slip}");
}

#[test]
fn recipes_of_distillations_name_a_corpus_and_a_teacher() {
    assert_eq!(builtin::distillation_names(), names("recipes/distill"));
    for name in builtin::distillation_names() {
        let source = recipe::find_distillation(name).unwrap();
        let recipe = DistillRecipe::parse(&source, &[]).unwrap();
        recipe.corpus.check().unwrap();
        if let Some(endpoint) = &recipe.teacher.endpoint {
            endpoint.check().unwrap();
        }
        assert_eq!(unexplained(&source.text), Vec::<&str>::new(), "{name}");
        let text = toml::to_string(&recipe).unwrap();
        let written = RecipeText { text, ..source };
        assert_eq!(DistillRecipe::parse(&written, &[]).unwrap(), recipe, "{name}");
    }
    let text = "run.dir = \"x\"\ncorpus.subsets.a.paths = [\"b/c.txt\"]\nteacher.prompt = \"type\"";
    let source = RecipeText { origin: "x".to_owned(), text: text.to_owned(), folder: "f".into() };
    let none = DistillRecipe::parse(&source, &[]).unwrap_err().to_string();
    assert!(none.contains("one of `[teacher.endpoint]` and `[teacher.model]`"), "{none}");
    let model = ["teacher.model.weights=m".parse().unwrap()];
    let recipe = DistillRecipe::parse(&source, &model).unwrap();
    assert_eq!(recipe.corpus.subsets["a"].paths, ["f/b/c.txt"]);
}

#[test]
fn reproductions_name_recipes_that_exist() {
    for name in Reproduction::names() {
        for column in Reproduction::load(name).unwrap().columns {
            let words: Vec<&str> = column.run.split_whitespace().collect();
            let recipe = words[words.iter().position(|word| *word == "--recipe").unwrap() + 1];
            let text = if column.run.contains("uner eval") {
                builtin::evaluation(recipe)
            } else {
                builtin::recipe(recipe)
            };
            assert!(text.is_some(), "{name}: {}", column.run);
            let folder = format!("\"{}\"", column.evaluation.display());
            let is_set = column.run.contains(&format!("run.dir={}", column.evaluation.display()));
            assert!(is_set || text.unwrap().contains(&folder), "{name}: {}", column.run);
        }
    }
}

#[test]
fn recipes_of_token_classifiers_are_read_and_written() {
    for name in recipes(true) {
        let recipe = TaggerRecipe::parse(&source(name), &[]).unwrap();
        recipe.check().unwrap();
        assert_eq!(recipe.run.dir, std::path::Path::new("checkpoints").join(name), "{name}");
        let text = toml::to_string(&recipe).unwrap();
        let written = RecipeText { text, ..source(name) };
        assert_eq!(TaggerRecipe::parse(&written, &[]).unwrap(), recipe, "{name}");
        let bad = "train.lrr=1".parse().unwrap();
        let error = TaggerRecipe::parse(&source(name), &[bad]).unwrap_err().to_string();
        assert!(error.contains("unknown key `train.lrr`; did you mean `lr`?"), "{error}");
    }
    assert!(recipes(true).count() >= 2);
}

#[test]
fn all_files_are_built_in() {
    assert_eq!(builtin::recipe_names(), names("recipes"));
    assert_eq!(builtin::model_names(), names("configs/models"));
    for name in ["quickstart", "zero-shot", "supervised", "private", "mit-restaurant"] {
        assert!(builtin::recipe(name).is_some(), "{name}");
    }
}

/// Plans a recipe without its device and its data.
fn plan_elsewhere(sources: &Sources) -> Plan {
    let Recipe { data, run, .. } = &sources.recipe;
    let conversations = data.expected_conversations.unwrap_or(1_000);
    let ranks = Ranks::of_one_process(&run.device);
    let machine = Machine::elsewhere(&run.device, run.limit_gib(), ranks);
    Plan::new(sources, DataSize::Expected { conversations }, machine, None)
}

/// A dry run prints the plan of each recipe, without data or weights.
#[test]
fn every_recipe_plans() {
    for name in recipes(false) {
        let recipe = load(name, &[]);
        assert_eq!(recipe.run.dir, std::path::Path::new("checkpoints").join(name), "{name}");
        let sources = Sources::find(recipe).unwrap_or_else(|error| panic!("{name}: {error}"));
        let here = format!("{}/", std::env::current_dir().unwrap().display());
        let missing = missing_lines(&sources.missing).into_iter();
        let missing = missing.map(|line| format!("{:<12}{line}\n", "missing"));
        let text = plan_elsewhere(&sources).describe() + &missing.collect::<Vec<_>>().concat();
        insta::assert_snapshot!(format!("plan-{name}"), text.replace(&here, "/here/"));
    }
}

/// Returns the lines on GPUs in the head of a recipe.
fn hardware(name: &str) -> String {
    let sources = Sources::find(load(name, &[])).unwrap();
    let plan = plan_elsewhere(&sources);
    assert!(plan.fits(), "{name} does not fit");
    let gigabytes = plan.machine.memory.available as f64 / 1e9;
    let gpus = match (plan.machine.ranks, plan.layout.sharding) {
        (_, Sharding::None) => format!("one GPU of {gigabytes:.0} GB"),
        (count, Sharding::Zero1) => format!("{count} GPUs of {gigabytes:.0} GB (ZeRO-1)"),
        (count, Sharding::Zero3) => format!("{count} GPUs of {gigabytes:.0} GB (ZeRO-3)"),
    };
    let memory = format!(
        "# Memory, estimated: {:.1} GiB a GPU (micro-batches of {} rows, {} of {} blocks recomputed).",
        plan.memory.total() as f64 / f64::from(1 << 30),
        plan.layout.micro_batch_rows,
        plan.layout.recomputed_blocks,
        plan.model.num_hidden_layers,
    );
    let time = format!(
        "# Time, estimated: at most {:.1} hours of matrix products at {:.0} TFLOP/s a GPU.",
        plan.seconds().unwrap() / 3600.0,
        plan.machine.rates.fastest() / 1e12,
    );
    format!("# Hardware: {gpus}.\n{memory}\n{time}\n")
}

#[test]
fn heads_of_recipes_for_gpus_say_what_the_plan_says() {
    let mut wrong = Vec::new();
    for name in recipes(false) {
        let text = builtin::recipe(name).unwrap();
        if text.contains("device = \"cuda") && !text.contains(&hardware(name)) {
            wrong.push(format!("{name}:\n{}", hardware(name)));
        }
    }
    assert!(wrong.is_empty(), "the heads should say:\n{}", wrong.join("\n"));
}

#[test]
fn every_model_configuration_plans() {
    for name in builtin::model_names() {
        let weights = format!("model.weights={RANDOM}");
        let config = format!("model.config={name}");
        let recipe = load("quickstart", &[&weights, &config]);
        let sources = Sources::find(recipe).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(plan_elsewhere(&sources).parameters.model() > 0, "{name}");
    }
}

/// Returns the keys of a recipe without a comment at their first use.
fn unexplained(recipe: &str) -> Vec<&str> {
    let mut explained: Vec<&str> = Vec::new();
    let mut unexplained = Vec::new();
    for line in recipe.lines().filter(|line| !line.starts_with(['#', '['])) {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        if value.contains(" # ") {
            explained.push(key);
        } else if !explained.contains(&key) {
            unexplained.push(key);
        }
    }
    unexplained
}

#[test]
fn every_key_is_explained_in_every_recipe() {
    for name in builtin::recipe_names() {
        assert_eq!(unexplained(builtin::recipe(name).unwrap()), Vec::<&str>::new(), "{name}");
    }
    assert_eq!(unexplained("# a = 1\na = 1 # why\nb = 2\na = 3\n"), ["b"]);
}

/// Reads the keys of `docs/recipes.md` with their defaults.
fn documented() -> BTreeMap<String, String> {
    let text = fs_err::read_to_string(repository().join("docs/recipes.md")).unwrap();
    let cells = |row: &str| {
        row.split(" | ")
            .map(|cell| cell.trim_matches(['|', ' ', '`']).to_owned())
            .collect::<Vec<_>>()
    };
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.map(|cells| (cells[0].clone(), cells[1].clone())).collect()
}

/// Collects the keys of a table, and of the entries of a list of tables. The keys under `dataset`
/// belong to a dataset's description and are left out.
fn keys(table: &toml::Table, section: &str, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let name = format!("{section}{key}");
        let tables: Vec<&toml::Table> = match value {
            toml::Value::Table(inner) if key != "dataset" => vec![inner],
            toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_table).collect(),
            _ => Vec::new(),
        };
        if tables.is_empty()
            || ["data.validation", "eval.during.benchmarks"].contains(&name.as_str())
        {
            found.insert(name);
        } else {
            for inner in tables {
                keys(inner, &format!("{name}."), found);
            }
        }
    }
}

/// Whether a recipe may have a key. An unknown key is refused by its name.
fn is_known(key: &str) -> bool {
    let mut recipe: toml::Table =
        "run.dir = \"x\"\nmodel.weights = \"y\"\ndata.train = [{ dataset = \"demo\", split = \"train\" }]\n"
            .parse()
            .unwrap();
    // No key accepts a table like this one.
    let nonsense = toml::Table::from_iter([("nonsense".to_owned(), true.into())]);
    let mut at = &mut recipe;
    let (sections, name) = key.rsplit_once('.').unwrap();
    for section in sections.split('.') {
        let value = at.entry(section).or_insert_with(|| toml::Table::new().into());
        at = match value {
            toml::Value::Array(list) => list[0].as_table_mut().unwrap(),
            value => value.as_table_mut().unwrap(),
        };
    }
    at.insert(name.to_owned(), nonsense.into());
    let text = toml::to_string(&recipe).unwrap();
    let error =
        recipe::parse(&RecipeText { origin: "x.toml".to_owned(), text, folder: "".into() }, &[]);
    !error.is_err_and(|error| {
        error.to_string().replace("[0]", "").contains(&format!("unknown key `{key}`"))
    })
}

#[test]
fn every_key_and_every_default_is_documented() {
    let documented = documented();
    let mut written = BTreeSet::new();
    for name in builtin::recipe_names() {
        keys(&builtin::recipe(name).unwrap().parse().unwrap(), "", &mut written);
    }
    // The key of token classifiers, which other recipes do not have.
    assert!(written.remove("model.head"));
    let unknown: Vec<&String> =
        written.iter().filter(|key| !documented.contains_key(*key)).collect();
    assert!(unknown.is_empty(), "docs/recipes.md lacks {unknown:?}");

    // A recipe may have every documented key: a wrong value is refused by its type, an unknown key
    // by its name.
    let unheard: Vec<&String> = documented.keys().filter(|key| !is_known(key)).collect();
    assert!(unheard.is_empty(), "docs/recipes.md has {unheard:?}, which no recipe may have");

    let text = "run.dir = \"x\"\nmodel = { weights = \"y\", adapter = {} }\ndata.train = [{ dataset = \"demo\", split = \"train\" }]\n";
    let source =
        RecipeText { origin: "short.toml".to_owned(), text: text.to_owned(), folder: "".into() };
    let recipe = recipe::parse(&source, &[]).unwrap();
    let mut defaults = recipe::defaults(&source, &[], &recipe);
    defaults.retain(|default| {
        !default.starts_with("model.adapter.target_modules") && default != "eval.benchmarks = []"
    });
    assert!(defaults.len() > 25, "{defaults:?}");
    for default in defaults {
        let (key, value) = default.split_once(" = ").unwrap();
        assert_eq!(documented.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[test]
fn what_a_run_writes_of_its_recipe_reads_back() {
    for name in recipes(false) {
        let recipe = load(name, &[]);
        let text = toml::to_string(&recipe).unwrap();
        let again = recipe::parse(
            &RecipeText { origin: "recipe.toml".to_owned(), text, folder: "".into() },
            &[],
        )
        .unwrap();
        assert_eq!(again, recipe, "{name}");
    }
}

#[test]
fn recipes_for_published_data_find_it() {
    let Some(root) = shared("data") else { return };
    let root_override = format!("data.root={}", root.display());
    let weights = format!("model.weights={}", root.join("tinystories-656k").display());
    for name in
        ["mit-restaurant", "tinystories-mit-restaurant", "tinystories-crossner", "supervised"]
    {
        let mut overrides = vec![root_override.as_str()];
        if name.starts_with("tinystories") {
            overrides.push(&weights);
        }
        let sources = Sources::find(load(name, &overrides)).unwrap();
        let expected = usize::from(name == "supervised");
        assert_eq!(sources.missing.len(), expected, "{name}: {:#?}", sources.missing);
    }
}
