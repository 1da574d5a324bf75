//! Sizes and names of source files.

use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;
use walkdir::WalkDir;

use super::assert_tidy;
use crate::shared::repository;

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 80;
/// Widest line of prose, the same as of code (`rustfmt.toml`).
pub(super) const MAX_WIDTH: usize = 100;
/// Names that say nothing about a module's contents.
const REFUSED_NAMES: [&str; 10] = [
    "utils",
    "helpers",
    "common",
    "misc",
    "manager",
    "processor",
    "handler",
    "base",
    "types",
    "impl",
];

/// Returns every Rust file of the workspace, sorted, relative to the repository.
fn rust_files() -> Vec<PathBuf> {
    let roots = ["crates", "tests", "benches"].map(|folder| repository().join(folder));
    let walks = roots.iter().flat_map(|root| WalkDir::new(root).sort_by_file_name());
    let files = walks.map(|entry| entry.unwrap().into_path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.strip_prefix(repository()).unwrap().to_owned())
        .collect()
}

/// Applies a check of one file (path, text) to all files, and returns the problems.
pub(super) fn over_all_files(check: impl Fn(&Path, &str) -> Vec<String>) -> Vec<String> {
    let files = rust_files();
    assert!(files.len() > 20, "only {} Rust files were found", files.len());
    let texts = files.iter().map(|path| fs_err::read_to_string(repository().join(path)).unwrap());
    files.iter().zip(texts).flat_map(|(path, text)| check(path, &text)).collect()
}

fn long_file(path: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, at most {MAX_FILE_LINES} are allowed", path.display())]
}

/// Finds comment lines over the limit; rustfmt checks code. A table's row cannot be broken.
fn wide_comments(path: &Path, text: &str) -> Vec<String> {
    let wide = |line: &str| line.chars().count() > MAX_WIDTH;
    let comment = |line: &str| line.trim_start().starts_with("//");
    let row = |line: &str| line.trim_start().trim_start_matches(['/', '!']).starts_with(" |");
    let lines = text.lines().zip(1..);
    lines
        .filter(|(line, _)| comment(line) && wide(line) && !row(line))
        .map(|(_, number)| format!("{}:{number}: over {MAX_WIDTH} characters", path.display()))
        .collect()
}

/// Finds functions, methods and trait methods over the limit, counted with signature and closing
/// brace.
fn long_functions(path: &Path, text: &str) -> Vec<String> {
    let mut found = Functions { path, problems: Vec::new() };
    match syn::parse_file(text) {
        Ok(file) => found.visit_file(&file),
        Err(error) => found.problems.push(format!("{}: {error}", path.display())),
    }
    found.problems
}

struct Functions<'a> {
    path: &'a Path,
    problems: Vec<String>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (first, last) = (signature.span().start().line, body.span().end().line);
        let lines = last - first + 1;
        if lines > MAX_FUNCTION_LINES {
            let place = format!("{}:{first}", self.path.display());
            let name = &signature.ident;
            self.problems
                .push(format!("{place}: `{name}` has {lines} lines, at most {MAX_FUNCTION_LINES}"));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.measure(&item.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

/// Finds files, folders and inline modules with a refused name.
fn refused_names(path: &Path, text: &str) -> Vec<String> {
    let parts = path.with_extension("");
    let in_path =
        parts.iter().filter_map(|part| part.to_str()).filter(|part| REFUSED_NAMES.contains(part));
    let declared = text.lines().filter_map(|line| {
        let (_, after) = line.split_once("mod ").filter(|(before, _)| !before.contains("//"))?;
        let name = after.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()?;
        REFUSED_NAMES.contains(&name).then_some(name)
    });
    in_path
        .chain(declared)
        .map(|name| format!("{}: the module name `{name}` says nothing", path.display()))
        .collect()
}

#[test]
fn files_are_short() {
    assert_tidy(&over_all_files(long_file));
}

#[test]
fn comments_are_narrow() {
    assert_tidy(&over_all_files(wide_comments));
}

#[test]
fn a_wide_comment_is_found() {
    let found = |text: &str| wide_comments(Path::new("wide.rs"), text).len();
    let wide = "a ".repeat(60);
    assert_eq!(found(&format!("//! {wide}")), 1);
    assert_eq!(found(&format!("    // {wide}")), 1);
    assert_eq!(found(&format!("/// | {wide} |\nlet x = \"{wide}\";\n// short")), 0);
}

#[test]
fn functions_are_short() {
    assert_tidy(&over_all_files(long_functions));
}

#[test]
fn module_names_say_something() {
    assert_tidy(&over_all_files(refused_names));
}

#[test]
fn a_long_file_is_found() {
    let path = Path::new("long.rs");
    assert!(long_file(path, &"\n".repeat(MAX_FILE_LINES)).is_empty());
    assert_eq!(
        long_file(path, &"\n".repeat(MAX_FILE_LINES + 1)),
        ["long.rs: 501 lines, at most 500 are allowed"]
    );
}

#[test]
fn long_functions_are_found_wherever_they_are() {
    let body = |lines: usize| format!("{{\n{}}}", "let _ = 1;\n".repeat(lines - 2));
    let path = Path::new("long.rs");
    let short = format!("/// Docs.\nfn short() {}\n", body(80));
    assert!(long_functions(path, &short).is_empty());
    let inner = format!("fn inner() {}", body(81));
    for outside in [
        inner.clone(),
        format!("mod a {{ impl B {{ {inner} }} }}"),
        format!("trait C {{ {inner} }}"),
        format!("fn outer() {{ {inner} }}"),
    ] {
        let problems = long_functions(path, &outside);
        assert!(
            problems.contains(&"long.rs:1: `inner` has 81 lines, at most 80".to_owned()),
            "{outside}: {problems:?}"
        );
    }
    assert_eq!(long_functions(path, "fn").len(), 1, "what does not parse is a problem");
}

#[test]
fn refused_names_are_found() {
    let found = |path: &str, text: &str| refused_names(Path::new(path), text).len();
    assert_eq!(found("crates/x/src/lib.rs", "pub mod example;\n// mod utils\n"), 0);
    assert_eq!(found("crates/x/src/utils.rs", ""), 1);
    assert_eq!(found("crates/x/src/common/mod.rs", ""), 1);
    let [_, helpers, ..] = REFUSED_NAMES;
    assert_eq!(found("crates/x/src/lib.rs", &format!("pub(crate) mod {helpers} {{\n}}\n")), 1);
}
