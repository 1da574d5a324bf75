//! Imports inside a crate are acyclic: no two of its modules import each other, directly or through
//! others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::Visit;
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};
use walkdir::WalkDir;

use super::assert_tidy;
use crate::shared::repository;

/// The modules that each module of a crate imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The names directly after `crate::`, without tests.
#[derive(Default)]
struct Imports(BTreeSet<String>);

impl Imports {
    fn of(file: &str) -> BTreeSet<String> {
        let mut found = Self::default();
        found.visit_file(&syn::parse_file(file).unwrap());
        found.0
    }
}

impl<'a> Visit<'a> for Imports {
    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        if let UseTree::Path(path) = &item.tree
            && path.ident == "crate"
        {
            first_names(&path.tree, &mut self.0);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let mut segments = path.segments.iter();
        if segments.next().is_some_and(|first| first.ident == "crate") {
            self.0.extend(segments.next().map(|second| second.ident.to_string()));
        }
        syn::visit::visit_path(self, path);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match attribute.parse_args::<syn::Meta>() {
        Ok(syn::Meta::Path(condition)) => condition.is_ident("test"),
        // `all(test, feature = "flex")`
        Ok(syn::Meta::List(list)) => {
            list.path.is_ident("all") && list.tokens.to_string().starts_with("test ,")
        }
        _ => false,
    } && attribute.path().is_ident("cfg"))
}

fn first_names(tree: &UseTree, found: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => drop(found.insert(path.ident.to_string())),
        UseTree::Name(name) => drop(found.insert(name.ident.to_string())),
        UseTree::Rename(name) => drop(found.insert(name.ident.to_string())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| first_names(tree, found)),
        UseTree::Glob(_) => {}
    }
}

/// Collects the last names of a `use` tree: the names that it imports.
fn last_names(tree: &UseTree, found: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => last_names(&path.tree, found),
        UseTree::Name(name) => drop(found.insert(name.ident.to_string())),
        UseTree::Rename(name) => drop(found.insert(name.rename.to_string())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| last_names(tree, found)),
        UseTree::Glob(_) => {}
    }
}

/// Returns the module of each name that the crate's root re-exports.
fn handed_on(root: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for item in syn::parse_file(root).unwrap().items {
        let Item::Use(ItemUse { tree: UseTree::Path(path), .. }) = item else { continue };
        let mut names = BTreeSet::new();
        last_names(&path.tree, &mut names);
        found.extend(names.into_iter().map(|name| (name, path.ident.to_string())));
    }
    found
}

/// Returns the imports of the modules directly under `src`, over all of their files.
fn graph(source: &Path) -> Graph {
    let mut graph = Graph::new();
    let root = fs_err::read_to_string(source.join("lib.rs")).unwrap();
    for entry in WalkDir::new(source).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        let name = path.strip_prefix(source).unwrap();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if !is_source
            || name == Path::new("lib.rs")
            || name.starts_with("bin")
            || stem.ends_with("tests")
        {
            continue;
        }
        let module =
            name.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        graph
            .entry(module)
            .or_default()
            .extend(Imports::of(&fs_err::read_to_string(&path).unwrap()));
    }
    let handed_on = handed_on(&root);
    let known: BTreeSet<String> = graph.keys().cloned().collect();
    for (module, seen) in &mut graph {
        let names = std::mem::take(seen).into_iter();
        let modules =
            names.filter_map(|name| known.get(&name).or_else(|| handed_on.get(&name)).cloned());
        *seen = modules.filter(|name| name != module && known.contains(name)).collect();
    }
    graph
}

/// Returns the modules that import themselves through others, and the modules in between.
fn tied(mut graph: Graph) -> Vec<String> {
    loop {
        let names: BTreeSet<String> = graph.keys().cloned().collect();
        let seen: BTreeSet<String> = graph.values().flatten().cloned().collect();
        graph.retain(|name, sees| {
            seen.contains(name) && sees.iter().any(|other| names.contains(other))
        });
        if graph.len() == names.len() {
            return graph.into_keys().collect();
        }
    }
}

#[test]
fn no_modules_see_each_other() {
    let mut problems = Vec::new();
    for entry in fs_err::read_dir(repository().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let tied = tied(graph(&folder.join("src")));
        if !tied.is_empty() {
            problems.push(format!("`{name}`: {} see each other", tied.join(", ")));
        }
    }
    assert_tidy(&problems);
}

#[test]
fn circles_are_found() {
    let graph = |edges: &[(&str, &[&str])]| -> Graph {
        let module = |(name, sees): &(&str, &[&str])| {
            ((*name).to_owned(), sees.iter().map(ToString::to_string).collect())
        };
        edges.iter().map(module).collect()
    };
    assert!(tied(graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])).is_empty());
    let tied = tied(graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]));
    assert_eq!(tied, ["b", "c"]);
    let file = "use crate::{a::X, b}; use super::z; fn f() { crate::c::g(); } #[cfg(test)] mod tests { use crate::d; } #[cfg(all(test, unix))] mod more { use crate::e; }";
    assert_eq!(Imports::of(file).into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(handed_on("pub mod a; pub use a::b::{C, D as E};")["E"], "a");
}
