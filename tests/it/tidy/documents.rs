//! Commands in the README, the CI script, and configuration files.

use std::collections::BTreeSet;
use std::path::Path;

use walkdir::WalkDir;

use super::assert_tidy;
use super::workspace::metadata;
use crate::shared::repository;

/// Number of lines of the README on the first screen.
const FIRST_SCREEN: usize = 20;

/// Names that commands may contain.
struct Known {
    binaries: BTreeSet<String>,
    packages: BTreeSet<String>,
    recipes: BTreeSet<String>,
    features: BTreeSet<String>,
    just_recipes: BTreeSet<String>,
}

fn known() -> Known {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let targets =
        packages.iter().flat_map(|package| &package.targets).filter(|target| target.is_bin());
    let recipes = toml_files("recipes")
        .into_iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    Known {
        binaries: targets.map(|target| target.name.clone()).collect(),
        packages: packages.iter().map(|package| package.name.to_string()).collect(),
        recipes: recipes.collect(),
        features: packages.iter().flat_map(|package| package.features.keys().cloned()).collect(),
        just_recipes: just_recipes(&read("justfile")),
    }
}

fn read(path: &str) -> String {
    fs_err::read_to_string(repository().join(path)).unwrap()
}

fn toml_files(folder: &str) -> Vec<std::path::PathBuf> {
    let walk = WalkDir::new(repository().join(folder)).sort_by_file_name();
    let files = walk.into_iter().map(|entry| entry.unwrap().into_path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

/// Returns the names before the first colon of unindented lines.
fn just_recipes(justfile: &str) -> BTreeSet<String> {
    let heads = justfile.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()));
    let names = heads.filter_map(|line| line.split_once(':')?.0.split(' ').next());
    names.map(str::to_owned).collect()
}

/// Returns the commands in the code blocks of a Markdown text: lines that start with one of our
/// programs, without comments. A backslash at the end joins lines.
fn commands(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        joined.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let bare = lines.map(|line| {
        let code = line.split(" #").next().unwrap_or_default();
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    bare.filter(|line| {
        let program = line.split(' ').next().unwrap_or_default();
        ["cargo", "just"].contains(&program) || program == "uner" || program.starts_with("uner-")
    })
    .collect()
}

/// Returns the names in a command that do not exist.
fn unknown_names(command: &str, known: &Known) -> Vec<String> {
    let words: Vec<&str> = command.split(' ').collect();
    let after = |flag: &str| {
        let found = words.windows(2).filter(move |pair| pair[0] == flag);
        found.map(|pair| pair[1].to_owned()).collect::<Vec<_>>()
    };
    let (mut binaries, mut packages) = (after("--bin"), after("-p"));
    let mut just = Vec::new();
    match words.first().copied() {
        Some("cargo") => packages.extend(after("--package")),
        Some("just") => just.extend(words.get(1).map(|&name| name.to_owned())),
        Some(program) => binaries.push(program.to_owned()),
        None => {}
    }
    // A path names the reader's own recipe.
    let recipes = after("--recipe")
        .into_iter()
        .filter(|name| !name.contains('/') && !name.starts_with("my-"));
    let recipes: Vec<String> =
        recipes.map(|name| name.trim_end_matches(".toml").to_owned()).collect();
    let features =
        after("--features").iter().flat_map(|list| list.split(',').map(str::to_owned)).collect();
    let checks = [
        ("binary", binaries, &known.binaries),
        ("package", packages, &known.packages),
        ("recipe", recipes, &known.recipes),
        ("feature", features, &known.features),
        ("just recipe", just, &known.just_recipes),
    ];
    let missing = checks.into_iter().flat_map(|(kind, names, set)| {
        names.into_iter().filter(|name| !set.contains(name)).map(move |name| (kind, name))
    });
    missing.map(|(kind, name)| format!("`{command}`: there is no {kind} `{name}`")).collect()
}

/// Checks that the first screen has the two commands that a reader needs, and that CI runs the
/// second and lints with its features: others would build burn a second time.
fn first_screen_problems(readme: &str, ci: &str) -> Vec<String> {
    let screen: Vec<&str> = readme.lines().take(FIRST_SCREEN).collect();
    let found = commands(&screen.join("\n"));
    let [_, test] = found.as_slice() else {
        return vec![format!(
            "the first screen of the README has {} commands instead of two",
            found.len()
        )];
    };
    let selection = test.split_once("run ").map_or("", |(_, selection)| selection);
    let lint = format!("cargo clippy {selection} --all-targets -- -D warnings");
    let wanted =
        [(test.as_str(), "the README's test command"), (&lint, "the lints of the same build")];
    let missing =
        wanted.iter().filter(|(command, _)| !ci.lines().any(|line| line.trim() == *command));
    missing.map(|(command, what)| format!(".ci/run does not run {what}, `{command}`")).collect()
}

/// Returns the Python packages that a text names.
fn wheels(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("nvidia-cuda-")).collect()
}

fn toml_problem(path: &Path, text: &str) -> Option<String> {
    let error = toml::from_str::<toml::Table>(text).err()?;
    Some(format!("{}: {error}", path.display()))
}

#[test]
fn readme_commands_exist() {
    let known = known();
    let found = commands(&read("README.md"));
    assert!(found.len() >= 8, "only {} commands were found in the README", found.len());
    let problems: Vec<String> =
        found.iter().flat_map(|command| unknown_names(command, &known)).collect();
    assert_tidy(&problems);
}

#[test]
fn the_first_screen_is_two_commands_and_ci_runs_the_second() {
    assert_tidy(&first_screen_problems(&read("README.md"), &read(".ci/run")));
}

/// CI compiles the kernels with the packages that a user installs. Tools that only inspect the
/// result are exempt.
#[test]
fn the_wheels_of_the_readme_are_those_of_ci() {
    let (readme, ci) = (read("README.md"), read(".ci/run"));
    let tools = BTreeSet::from(["nvidia-cuda-cuobjdump", "nvidia-cuda-nvdisasm"]);
    let compiler: BTreeSet<&str> = wheels(&ci).difference(&tools).copied().collect();
    assert_eq!(compiler.len(), 4, "{compiler:?}");
    assert_eq!(wheels(&readme), compiler);
}

/// Without a pin, cudarc binds to any toolkit that it finds, or to its newest.
#[test]
fn the_cuda_bindings_are_pinned() {
    let config: toml::Table = read(".cargo/config.toml").parse().unwrap();
    assert_eq!(config["env"]["CUDARC_CUDA_VERSION"].as_str(), Some("13000"));
}

#[test]
fn recipes_and_configuration_parse() {
    let mut files: Vec<_> = [
        ".cargo/config.toml",
        ".config/nextest.toml",
        "deny.toml",
        "_typos.toml",
        "clippy.toml",
        "rustfmt.toml",
    ]
    .iter()
    .map(|name| repository().join(name))
    .collect();
    for folder in ["configs", "recipes"] {
        let found = toml_files(folder);
        assert!(!found.is_empty(), "`{folder}` holds no TOML file");
        files.extend(found);
    }
    let problems: Vec<String> = files
        .iter()
        .filter_map(|path| toml_problem(path, &fs_err::read_to_string(path).unwrap()))
        .collect();
    assert_tidy(&problems);
}

#[test]
fn commands_are_found_in_code_blocks_only() {
    let text = "`cargo x`\n```sh\ncargo run --bin uner \\\n  -- --recipe a  # why\n  just test\nls\n```\ncargo y\n";
    assert_eq!(commands(text), ["cargo run --bin uner -- --recipe a", "just test"]);
}

#[test]
fn unknown_names_are_found() {
    let set = |name: &str| BTreeSet::from([name.to_owned()]);
    let known = Known {
        binaries: set("uner"),
        packages: set("uner-data"),
        recipes: set("quickstart"),
        features: set("cuda"),
        just_recipes: just_recipes(
            "set shell := [\"bash\"]\n# a comment: no\ntest *args:\n    cargo test\n",
        ),
    };
    for good in [
        "uner train --recipe quickstart",
        "cargo run --bin uner -- --recipe quickstart.toml",
        "cargo test -p uner-data --features cuda",
        "uner train --recipe path/to/mine.toml",
        "just test",
    ] {
        assert!(unknown_names(good, &known).is_empty(), "{good}");
    }
    for bad in [
        "uner-train",
        "uner train --recipe quick",
        "cargo run --bin uner-train -- --recipe quickstart",
        "cargo test --package uner-date",
        "cargo test --features cuda,cudnn",
        "just a",
    ] {
        assert_eq!(unknown_names(bad, &known).len(), 1, "{bad}");
    }
}

#[test]
fn a_bad_first_screen_is_found() {
    let readme = "# uner\n```sh\nuner x\ncargo nextest run --features a\n```\n";
    let (test, lint) = (
        "cargo nextest run --features a",
        "cargo clippy --features a --all-targets -- -D warnings",
    );
    assert!(first_screen_problems(readme, &format!("set -e\n{lint}\n{test}\n")).is_empty());
    assert_eq!(first_screen_problems(readme, &format!("{lint}\n{test} --lib\n")).len(), 1);
    assert_eq!(first_screen_problems(readme, &format!("cargo clippy\n{test}\n")).len(), 1);
    assert_eq!(first_screen_problems("```sh\nuner x\n```\n", "uner x\n").len(), 1);
}

#[test]
fn bad_toml_is_found() {
    assert_eq!(toml_problem(Path::new("a.toml"), "a = 1\n[b]\nc = \"d\"\n"), None);
    assert!(toml_problem(Path::new("a.toml"), "a = \n").is_some());
}
