//! Dependency edges and features of the workspace.

use std::process::Command;

use cargo_metadata::{CargoOpt, Metadata, MetadataCommand};

use super::assert_tidy;
use crate::shared::repository;

/// The crates that each crate depends on: the layers of ARCHITECTURE.md.
const LAYERS: [(&str, &[&str]); 15] = [
    ("uner-data", &[]),
    ("uner-kernels", &[]),
    ("uner-prompt", &["uner-data"]),
    ("uner-download", &["uner-data"]),
    ("uner-model", &["uner-kernels"]),
    ("uner-endpoint", &["uner-prompt"]),
    ("uner-trainer", &["uner-prompt", "uner-model", "uner-kernels"]),
    ("uner-infer", &["uner-data", "uner-prompt", "uner-model", "uner-kernels"]),
    ("uner-eval", &["uner-data", "uner-prompt", "uner-endpoint"]),
    ("uner-distill", &["uner-data", "uner-prompt", "uner-endpoint"]),
    (
        "uner-plan",
        &[
            "uner-data",
            "uner-prompt",
            "uner-model",
            "uner-kernels",
            "uner-trainer",
            "uner-infer",
            "uner-endpoint",
            "uner-eval",
        ],
    ),
    ("uner-report", &["uner-trainer", "uner-plan"]),
    ("uner-serve", &["uner-prompt", "uner-infer"]),
    (
        "uner-run",
        &[
            "uner-data",
            "uner-prompt",
            "uner-model",
            "uner-kernels",
            "uner-trainer",
            "uner-infer",
            "uner-endpoint",
            "uner-eval",
            "uner-distill",
            "uner-plan",
        ],
    ),
    (
        "uner-cli",
        &[
            "uner-data",
            "uner-download",
            "uner-kernels",
            "uner-prompt",
            "uner-model",
            "uner-trainer",
            "uner-infer",
            "uner-endpoint",
            "uner-eval",
            "uner-distill",
            "uner-plan",
            "uner-report",
            "uner-run",
            "uner-serve",
        ],
    ),
];
/// Crates without tensors.
const WITHOUT_BURN: [&str; 6] =
    ["uner-data", "uner-download", "uner-prompt", "uner-endpoint", "uner-eval", "uner-distill"];
/// Packages that test or measure all others, and a package without code.
const OUTSIDE_THE_LAYERS: [&str; 4] =
    ["uner-tests", "uner-benches", "uner-examples", "workspace-hack"];

/// A dependency as a manifest declares it.
struct Edge {
    from: String,
    to: String,
    features: Vec<String>,
    default_features: bool,
}

/// Returns the metadata of the workspace with every GPU backend.
fn metadata_with_gpus() -> Metadata {
    resolve(&["webgpu", "vulkan", "cuda"])
}

/// Returns the metadata of the workspace.
pub(super) fn metadata() -> Metadata {
    resolve(&[])
}

/// Resolves for this machine only, so that nothing is downloaded for others.
fn resolve(features: &[&str]) -> Metadata {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    MetadataCommand::new()
        .manifest_path(repository().join("Cargo.toml"))
        .features(CargoOpt::SomeFeatures(features.iter().map(ToString::to_string).collect()))
        .other_options(["--filter-platform".to_owned(), host.to_owned()])
        .exec()
        .unwrap()
}

fn edges(metadata: &Metadata) -> Vec<Edge> {
    let packages = metadata.workspace_packages().into_iter();
    packages
        .filter(|package| !OUTSIDE_THE_LAYERS.contains(&package.name.as_str()))
        .flat_map(|package| {
            package.dependencies.iter().map(|dependency| Edge {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                features: dependency.features.clone(),
                default_features: dependency.uses_default_features,
            })
        })
        .collect()
}

/// Returns edges between our crates that the layers do not allow, and crates outside all layers.
fn forbidden_edges(edges: &[Edge]) -> Vec<String> {
    let ours = edges.iter().filter(|edge| edge.to.starts_with("uner-"));
    ours.filter_map(|edge| match LAYERS.iter().find(|(name, _)| *name == edge.from) {
        None => Some(format!("`{}` is in no layer", edge.from)),
        Some((_, allowed)) if allowed.contains(&edge.to.as_str()) => None,
        Some(_) => Some(format!("`{}` must not depend on `{}`", edge.from, edge.to)),
    })
    .collect()
}

/// Returns edges of the layers that are in no manifest.
fn missing_edges(edges: &[Edge]) -> Vec<String> {
    let pairs =
        LAYERS.iter().flat_map(|(from, allowed)| allowed.iter().map(move |to| (*from, *to)));
    pairs
        .filter(|(from, to)| !edges.iter().any(|edge| edge.from == *from && edge.to == *to))
        .map(|(from, to)| format!("`{from}` does not depend on `{to}`"))
        .collect()
}

/// Returns text crates that depend on burn, and crates other than the kernels that choose a backend
/// or enable burn's default features (`fusion` is one of them).
fn burn_problems(edges: &[Edge]) -> Vec<String> {
    let backends = ["flex", "ndarray", "cuda", "rocm", "wgpu", "vulkan", "metal", "cpu", "tch"];
    let to_burn = edges.iter().filter(|edge| edge.to == "burn" || edge.to.starts_with("burn-"));
    to_burn
        .flat_map(|edge| {
            let mut problems = Vec::new();
            if WITHOUT_BURN.contains(&edge.from.as_str()) {
                problems.push(format!("`{}` must not know burn", edge.from));
            }
            if edge.default_features {
                problems.push(format!("`{}` takes default features of `{}`", edge.from, edge.to));
            }
            let chosen = edge
                .features
                .iter()
                .filter(|f| f.as_str() == "fusion" || backends.contains(&f.as_str()));
            problems
                .extend(chosen.map(|f| format!("`{}` turns `{f}` of `{}` on", edge.from, edge.to)));
            problems
        })
        .collect()
}

/// Returns the resolved packages (name, features) of burn that enable fusion. The presence of
/// `burn-fusion` alone proves nothing: cargo also lists packages of weak dependency features.
fn fusing<'a>(resolved: impl Iterator<Item = (&'a str, Vec<String>)>) -> Vec<String> {
    resolved
        .filter(|(name, features)| {
            name.starts_with("burn") && features.iter().any(|f| f == "fusion")
        })
        .map(|(name, _)| {
            format!("`{name}` is built with `fusion`, which has open wrong-result bugs")
        })
        .collect()
}

#[test]
fn dependencies_point_down() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let known =
            OUTSIDE_THE_LAYERS.contains(&name) || LAYERS.iter().any(|(layer, _)| *layer == name);
        assert!(known, "`{name}` is in no layer");
    }
    let edges = edges(&metadata);
    assert_tidy(&[forbidden_edges(&edges), missing_edges(&edges), burn_problems(&edges)].concat());
}

/// Returns packages of a lock file that bring LLVM, and `cubecl-llvm` unless it is our stand-in.
fn llvm(lock: &str) -> Vec<String> {
    let lock: toml::Table = lock.parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let name = |package: &toml::Value| package["name"].as_str().unwrap().to_owned();
    let foreign = packages.iter().filter(|package| {
        let stands_in = name(package) == "cubecl-llvm" && package.get("source").is_none();
        let brings = ["llvm-sys", "tracel-llvm", "pliron-llvm", "cubecl-llvm"];
        !stands_in && brings.iter().any(|prefix| name(package).starts_with(prefix))
    });
    foreign.map(|package| format!("`{}` in Cargo.lock needs LLVM", name(package))).collect()
}

#[test]
fn the_cuda_build_is_without_llvm() {
    let metadata = metadata_with_gpus();
    let stand_in =
        metadata.packages.iter().find(|package| package.name.as_str() == "cubecl-llvm").unwrap();
    assert_eq!(stand_in.manifest_path, repository().join("third_party/cubecl-llvm/Cargo.toml"));
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let features = |name: &str| {
        let node = nodes.iter().find(|node| metadata[&node.id].name.as_str() == name).unwrap();
        node.features.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // Without this feature the stand-in would be the compiler.
    assert!(features("cubecl-cuda").contains(&"cpp".to_owned()));
    let lock = fs_err::read_to_string(repository().join("Cargo.lock")).unwrap();
    assert_tidy(&llvm(&lock));
}

#[test]
fn llvm_is_found() {
    let lock = |name: &str, source: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"1\"\n{source}\n")
    };
    let registry = "source = \"registry\"";
    assert!(
        llvm(&lock("cubecl-llvm", "")).is_empty()
            && llvm(&lock("cubecl-cuda", registry)).is_empty()
    );
    for name in ["cubecl-llvm", "llvm-sys", "tracel-llvm-bundler"] {
        assert_eq!(llvm(&lock(name, registry)).len(), 1, "{name}");
    }
}

#[test]
fn burn_does_not_fuse() {
    let metadata = metadata_with_gpus();
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let resolved = nodes.iter().map(|node| {
        let features = node.features.iter().map(ToString::to_string).collect();
        (metadata[&node.id].name.as_str(), features)
    });
    let resolved: Vec<(&str, Vec<String>)> = resolved.collect();
    let cuda = |(name, features): &(&str, Vec<String>)| {
        *name == "burn" && features.contains(&"cuda".to_owned())
    };
    assert!(resolved.iter().any(cuda), "burn with CUDA is not in the graph");
    assert_tidy(&fusing(resolved.into_iter()));
}

#[test]
fn bad_edges_are_found() {
    let edge = |from: &str, to: &str, features: &[&str], default_features: bool| Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        features: features.iter().map(ToString::to_string).collect(),
        default_features,
    };
    let good = [
        edge("uner-prompt", "uner-data", &[], true),
        edge("uner-kernels", "burn", &["std"], false),
    ];
    assert!(forbidden_edges(&good).is_empty() && burn_problems(&good).is_empty());
    for (from, to) in
        [("uner-data", "uner-prompt"), ("uner-infer", "uner-trainer"), ("uner-new", "uner-data")]
    {
        assert_eq!(forbidden_edges(&[edge(from, to, &[], true)]).len(), 1, "{from} to {to}");
    }
    assert!(missing_edges(&good).contains(&"`uner-cli` does not depend on `uner-plan`".to_owned()));
    assert!(!missing_edges(&good).iter().any(|problem| problem.contains("`uner-prompt` does")));
    assert_eq!(burn_problems(&[edge("uner-data", "burn", &[], false)]).len(), 1);
    assert_eq!(burn_problems(&[edge("uner-model", "burn", &["flex"], false)]).len(), 1);
    assert_eq!(burn_problems(&[edge("uner-kernels", "burn", &["fusion"], true)]).len(), 2);
}

#[test]
fn fusion_is_found() {
    let node = |name: &'static str, features: &[&str]| {
        (name, features.iter().map(ToString::to_string).collect())
    };
    assert!(fusing([node("burn", &["std"]), node("serde", &["fusion"])].into_iter()).is_empty());
    assert_eq!(
        fusing([node("burn", &["std"]), node("burn-core", &["std", "fusion"])].into_iter()).len(),
        1
    );
}
