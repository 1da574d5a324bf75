//! No kernel is forgotten: every function of the ops that can be launched is among the kernels
//! whose CUDA C++ is checked.

use std::collections::BTreeSet;
use std::path::Path;

use syn::visit::Visit;
use uner_kernels::offline::KernelSource;
use walkdir::WalkDir;

use crate::shared::repository;

/// The functions of one file with the attribute `cube(launch ..)`, without tests.
#[derive(Default)]
struct Launched(Vec<String>);

impl<'ast> Visit<'ast> for Launched {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
        };
        if !module.attrs.iter().any(is_test) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let launched = |attribute: &syn::Attribute| {
            attribute.path().is_ident("cube")
                && attribute
                    .meta
                    .require_list()
                    .is_ok_and(|list| list.tokens.to_string().contains("launch"))
        };
        if function.attrs.iter().any(launched) {
            self.0.push(function.sig.ident.to_string());
        }
        syn::visit::visit_item_fn(self, function);
    }
}

/// Returns the kernels in a file of the crate by their labels: op, file and function.
fn kernels(path: &Path, text: &str) -> Vec<String> {
    let mut found = Launched::default();
    found.visit_file(&syn::parse_file(text).expect("sources are Rust"));
    let modules = path.with_extension("");
    let modules = modules.iter().map(|part| part.to_str().expect("names are text"));
    let place: Vec<&str> = modules.filter(|module| !["cube", "mod"].contains(module)).collect();
    found.0.into_iter().map(|name| format!("{}/{name}", place.join("/"))).collect()
}

/// Returns the kernels of the crate. Kernels in test files do not count.
fn of_the_crate() -> BTreeSet<String> {
    let root = repository().join("crates/uner-kernels/src");
    let paths = WalkDir::new(&root).into_iter().map(|entry| entry.unwrap().into_path());
    let sources = paths.filter(|path| {
        path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().is_some_and(|stem| stem != "tests")
    });
    sources
        .flat_map(|path| {
            let text = fs_err::read_to_string(&path).unwrap();
            kernels(path.strip_prefix(&root).unwrap(), &text)
        })
        .collect()
}

fn missing<'a>(kernels: &BTreeSet<String>, labels: impl Iterator<Item = &'a str>) -> Vec<String> {
    let listed: BTreeSet<&str> = labels.filter_map(|label| label.split(' ').next()).collect();
    let missing = kernels.iter().filter(|kernel| !listed.contains(kernel.as_str()));
    missing
        .map(|kernel| format!("{kernel}: no call in uner-kernels/src/offline/calls launches it"))
        .collect()
}

/// Returns the kernels of the crate that are missing in `sources`.
pub(super) fn unlisted(sources: &[KernelSource]) -> Vec<String> {
    let kernels = of_the_crate();
    assert!(kernels.len() >= 20, "only {kernels:?} were found");
    missing(&kernels, sources.iter().map(|source| source.label.as_str()))
}

#[test]
fn kernels_are_found_and_tests_are_not() {
    let text = "#[cube(launch)] fn a() {}
        #[cube] fn part() {}
        mod inner { #[cube(launch_unchecked, create_dummy_kernel)] pub(super) fn b() {} }
        #[cfg(test)] mod tests { #[cube(launch)] fn c() {} }";
    assert_eq!(kernels(Path::new("rope/cube.rs"), text), ["rope/a", "rope/b"]);
    assert_eq!(kernels(Path::new("attention/cube/mod.rs"), text), ["attention/a", "attention/b"]);
    assert_eq!(
        kernels(Path::new("attention/cube/plan.rs"), text),
        ["attention/plan/a", "attention/plan/b"]
    );
}

#[test]
fn a_forgotten_kernel_is_found() {
    let kernels = BTreeSet::from(["rope/rotate".to_owned(), "rope/unrotate".to_owned()]);
    let labels = ["rope/rotate f32 heads 4", "rope/unrotated f32"];
    assert_eq!(
        missing(&kernels, labels.into_iter()),
        ["rope/unrotate: no call in uner-kernels/src/offline/calls launches it"]
    );
}
