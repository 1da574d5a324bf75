//! burn is compiled once: all commands with one set of features and one profile use the same builds
//! of it.
//!
//! Cargo compiles a crate once for each set of features of the crate and its dependencies.
//! `cargo build --unit-graph` lists the compilations of a command without running them. The option
//! is unstable, so `RUSTC_BOOTSTRAP` makes cargo accept it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter;
use std::process::Command;

use serde::Deserialize;

use super::assert_tidy;
use crate::shared::repository;

/// Crates that take minutes to compile.
const SLOW: [&str; 3] = ["burn", "cubecl", "cubek"];

#[derive(Deserialize)]
struct Graph {
    units: Vec<Unit>,
}

/// One compilation of a crate.
#[derive(Deserialize)]
struct Unit {
    pkg_id: String,
    target: Target,
    profile: serde_json::Map<String, serde_json::Value>,
    features: BTreeSet<String>,
    mode: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    index: usize,
}

impl Unit {
    /// `name@version`.
    fn name(&self) -> &str {
        self.pkg_id.rsplit(['#', '/']).next().unwrap()
    }

    /// Everything that distinguishes two compilations, except their dependencies.
    fn own_key(&self) -> String {
        let mut profile = self.profile.clone();
        // The profiles of benches and releases compile alike.
        profile.remove("name");
        let profile = serde_json::to_string(&profile).unwrap();
        format!(
            "{} {:?} {} {:?} {profile}",
            self.pkg_id, self.target.kind, self.mode, self.features
        )
    }
}

/// Returns the compilations of a command.
fn graph(command: &[&str]) -> Graph {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(repository())
        // Cargo's cached information on the compiler stays that of the stable one.
        .envs([("RUSTC_BOOTSTRAP", "1".as_ref()), ("CARGO_TARGET_DIR", folder.path().as_os_str())])
        .args(command)
        .args(["--unit-graph", "-Z", "unstable-options"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns a hash for each compilation of a graph, of all that distinguishes it and of the hashes
/// of its dependencies.
fn numbers(graph: &Graph) -> Vec<u64> {
    fn number(graph: &Graph, index: usize, known: &mut [Option<u64>]) -> u64 {
        if let Some(known) = known[index] {
            return known;
        }
        let unit = &graph.units[index];
        let needs =
            unit.dependencies.iter().map(|dependency| number(graph, dependency.index, known));
        let needs: BTreeSet<u64> = needs.collect();
        let mut hasher = DefaultHasher::new();
        (unit.own_key(), needs).hash(&mut hasher);
        *known[index].insert(hasher.finish())
    }
    let mut known = vec![None; graph.units.len()];
    (0..graph.units.len()).map(|index| number(graph, index, &mut known)).collect()
}

/// Returns the indices of the slow compilations of a graph by their hashes.
fn slow(graph: &Graph) -> BTreeMap<u64, usize> {
    let is_slow =
        |index: usize| SLOW.iter().any(|prefix| graph.units[index].name().starts_with(prefix));
    let places = numbers(graph).into_iter().zip(0..);
    places.filter(|(_, index)| is_slow(*index)).collect()
}

/// Returns the compilations in `open` and all of their dependencies.
fn needs(graph: &Graph, mut open: Vec<usize>) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    while let Some(index) = open.pop() {
        if found.insert(index) {
            open.extend(graph.units[index].dependencies.iter().map(|dependency| dependency.index));
        }
    }
    found
}

/// Reports the slow crates that `command` compiles and `whole` does not, and their dependencies
/// that `whole` compiles with other features.
fn second_builds(command: &str, graph: &Graph, whole: &Graph) -> Vec<String> {
    let known = slow(whole);
    let again: Vec<usize> = slow(graph)
        .into_iter()
        .filter(|(number, _)| !known.contains_key(number))
        .map(|(_, index)| index)
        .collect();
    if again.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = again.iter().map(|&index| graph.units[index].name()).collect();
    let keys: BTreeSet<String> = whole.units.iter().map(Unit::own_key).collect();
    let others = needs(graph, again).into_iter().map(|index| &graph.units[index]);
    let others = others
        .filter(|unit| !keys.contains(&unit.own_key()))
        .map(|unit| (unit.name(), &unit.features));
    vec![format!(
        "`{command}` compiles {names:?} again; name in crates/workspace-hack what the whole workspace turns on of {:?}",
        others.collect::<Vec<_>>()
    )]
}

/// Checks commands of one profile, each with `features` appended. The first compiles the whole
/// workspace.
fn assert_built_once(commands: &[&str], features: &str) {
    let graphs: Vec<Graph> = commands
        .iter()
        .map(|command| {
            let words =
                command.split(' ').chain(features.split(' ')).filter(|word| !word.is_empty());
            graph(&words.collect::<Vec<_>>())
        })
        .collect();
    let whole = &graphs[0];
    assert!(slow(whole).len() > 15, "the workspace needs burn, which is of more than 15 crates");
    let problems: Vec<String> = commands
        .iter()
        .zip(&graphs)
        .flat_map(|(command, graph)| {
            second_builds(&format!("cargo {command} {features}"), graph, whole)
        })
        .collect();
    assert_tidy(&problems);
}

/// The commands of the README, of `just` and of CI, and single packages.
const RELEASE: [&str; 9] = [
    "test --release --workspace --no-run",
    "build --release --bin uner-train",
    "build --release --package uner-cli",
    "bench --package uner-benches --no-run",
    "bench --workspace --no-run",
    "test --release -p uner-kernels --no-run",
    "test --release -p uner-cli --no-run",
    "test --release -p uner-tests --no-run",
    "test --release -p uner-benches --no-run",
];

#[test]
fn burn_is_built_once_for_the_cpu() {
    assert_built_once(&RELEASE, "");
    let packages = ["uner-model", "uner-trainer", "uner-infer"]
        .map(|package| format!("test -p {package} --no-run"));
    let whole = iter::once("test --workspace --no-run");
    assert_built_once(&whole.chain(packages.iter().map(String::as_str)).collect::<Vec<_>>(), "");
}

#[test]
fn burn_is_built_once_with_gpus() {
    assert_built_once(&RELEASE, "--features webgpu,cuda");
}

#[test]
fn burn_is_not_built_again_for_mpi() {
    let with =
        |features| graph(&["test", "--release", "--workspace", "--no-run", "--features", features]);
    assert_tidy(&second_builds("the tests of MPI", &with("webgpu,cuda,mpi"), &with("webgpu,cuda")));
}

#[test]
fn a_second_build_is_found() {
    let unit = |name: &str, features: &[&str], dependencies: &[usize]| Unit {
        pkg_id: format!("registry#{name}@1.0.0"),
        target: Target { kind: vec!["lib".to_owned()] },
        profile: serde_json::Map::from_iter([("name".to_owned(), "release".into())]),
        features: features.iter().map(ToString::to_string).collect(),
        mode: "build".to_owned(),
        dependencies: dependencies.iter().map(|&index| Dependency { index }).collect(),
    };
    let graph = |features: &[&str]| Graph {
        units: vec![
            unit("burn-core", &[], &[1]),
            unit("serde_json", features, &[]),
            unit("clap", features, &[]),
        ],
    };
    assert!(second_builds("cargo run", &graph(&["std"]), &graph(&["std"])).is_empty());
    let found = second_builds("cargo run", &graph(&["std", "unbounded_depth"]), &graph(&["std"]));
    assert_eq!(found.len(), 1);
    for part in [
        "`cargo run` compiles [\"burn-core@1.0.0\"] again",
        "(\"serde_json@1.0.0\", {\"std\", \"unbounded_depth\"})",
    ] {
        assert!(found[0].contains(part), "{}", found[0]);
    }
    assert!(!found[0].contains("clap"), "burn needs no `clap`: {}", found[0]);
}
