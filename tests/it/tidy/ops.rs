//! Every op is one directory with the same files, an entry in the benches and a kernel test.
//!
//! An op is a directory of `uner-kernels` with a `reference.rs`. It has `mod.rs`, `cpu.rs`, and
//! `cube.rs` or a directory `cube`. The doc comment of the trait in `mod.rs` is "The differentiable
//! operator." with a `backward.rs`, and "The operator. It has no gradient." without.

use std::collections::BTreeSet;
use std::path::Path;

use syn::visit::Visit;

use super::assert_tidy;
use crate::shared::repository;

const DIFFERENTIABLE: &str = "/// The differentiable operator.";
const WITHOUT_GRADIENT: &str = "/// The operator. It has no gradient.";
/// Parts that only ops have.
const PARTS: [&str; 4] = ["reference", "cpu", "cube", "backward"];

/// A directory of kernels.
struct Directory {
    name: String,
    /// Its files and directories without `.rs`.
    parts: BTreeSet<String>,
    /// The text of `mod.rs`, empty without one.
    module: String,
    /// The text of `backward.rs`, empty without one.
    backward: String,
}

impl Directory {
    fn read(path: &Path) -> Self {
        let entries = fs_err::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = |name: &str| fs_err::read_to_string(path.join(name)).unwrap_or_default();
        Self {
            name: stem(path),
            parts: entries.map(|entry| stem(&entry)).collect(),
            module: text("mod.rs"),
            backward: text("backward.rs"),
        }
    }

    fn is_op(&self) -> bool {
        self.parts.contains("reference")
    }

    /// Lists the passes of this op that a profile would not show.
    fn untimed(&self) -> Vec<String> {
        let forward = (&self.module, format!("timed(\"{}\", Pass::Forward", self.name), "mod.rs");
        let backward =
            (&self.backward, format!("timed(\"{}\", Pass::Backward", self.name), "backward.rs");
        let ways = if self.backward.is_empty() { vec![forward] } else { vec![forward, backward] };
        let missing = ways.into_iter().filter(|(text, call, _)| !text.contains(call));
        missing
            .map(|(_, call, file)| format!("`{}/{file}` does not call `{call}`", self.name))
            .collect()
    }

    /// Lists an op's files that are missing, superfluous, or not part of the program.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                problems.push(format!("`{}` {problem}", self.name));
            }
        };
        let has = |part: &str| self.parts.contains(part);
        if !self.is_op() {
            check(!PARTS.iter().any(|part| has(part)), "has files of an op but no `reference.rs`");
            return problems;
        }
        check(has("cpu"), "has no `cpu.rs`");
        check(has("cube"), "has no `cube.rs`");
        let states = |sentence: &str| self.module.lines().any(|line| line.trim() == sentence);
        check(
            states(DIFFERENTIABLE) != states(WITHOUT_GRADIENT),
            "does not say whether it has a gradient",
        );
        check(
            has("backward") == states(DIFFERENTIABLE),
            "says other of its gradient than its files",
        );
        for part in PARTS.iter().filter(|part| has(part)) {
            let declared = self.module.lines().any(|line| line.ends_with(&format!("mod {part};")));
            check(declared, &format!("does not declare `{part}`"));
        }
        problems
    }
}

/// Returns every directory of the kernels.
fn directories() -> Vec<Directory> {
    let entries = fs_err::read_dir(repository().join("crates/uner-kernels/src")).unwrap();
    let mut paths: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    paths.sort();
    paths.iter().map(|path| Directory::read(path)).collect()
}

fn ops() -> BTreeSet<String> {
    let found: BTreeSet<String> = directories()
        .into_iter()
        .filter(Directory::is_op)
        .map(|directory| directory.name)
        .collect();
    assert!(found.len() >= 7, "only {found:?} were found");
    found
}

/// Returns the names in the table `OPS` of the benches: the first item of each entry.
fn benched(source: &str) -> BTreeSet<String> {
    struct Table(BTreeSet<String>);
    impl<'ast> Visit<'ast> for Table {
        fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
            if item.ident == "OPS" {
                syn::visit::visit_item_const(self, item);
            }
        }

        fn visit_expr_tuple(&mut self, tuple: &'ast syn::ExprTuple) {
            if let Some(syn::Expr::Lit(literal)) = tuple.elems.first()
                && let syn::Lit::Str(name) = &literal.lit
            {
                self.0.insert(name.value());
            }
        }
    }
    let mut table = Table(BTreeSet::new());
    table.visit_file(&syn::parse_file(source).expect("benches are Rust"));
    table.0
}

/// Returns the ops whose `reference` is called by path, as in `uner_kernels::rope::reference(`.
fn compared(source: &str, ops: &BTreeSet<String>) -> BTreeSet<String> {
    let calls = |op: &&String| source.contains(&format!("uner_kernels::{op}::reference("));
    ops.iter().filter(calls).cloned().collect()
}

/// Lists the names that are in one of two sets only.
fn differences(ops: &BTreeSet<String>, others: &BTreeSet<String>, place: &str) -> Vec<String> {
    let missing = ops.difference(others).map(|op| format!("`{op}` is missing in {place}"));
    let unknown = others.difference(ops).map(|op| format!("`{op}` in {place} is not an op"));
    missing.chain(unknown).collect()
}

#[test]
fn directories_of_ops_are_complete() {
    assert_tidy(&directories().iter().flat_map(Directory::problems).collect::<Vec<_>>());
}

#[test]
fn every_op_is_timed() {
    let ops: Vec<Directory> = directories().into_iter().filter(Directory::is_op).collect();
    assert_tidy(&ops.iter().flat_map(Directory::untimed).collect::<Vec<_>>());
    let mut untimed = Directory {
        module: String::new(),
        ..Directory::read(&repository().join("crates/uner-kernels/src/rope"))
    };
    assert_eq!(untimed.untimed().len(), 1);
    untimed.backward = "timed(\"other\", Pass::Backward".to_owned();
    assert_eq!(untimed.untimed().len(), 2);
}

#[test]
fn every_op_is_measured() {
    let source = fs_err::read_to_string(repository().join("benches/ops.rs")).unwrap();
    assert_tidy(&differences(&ops(), &benched(&source), "the table `OPS` of benches/ops.rs"));
}

#[test]
fn every_op_is_compared_with_its_reference() {
    let files = fs_err::read_dir(repository().join("tests/it/kernels")).unwrap();
    let source: String =
        files.map(|file| fs_err::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert_tidy(&differences(&ops(), &compared(&source, &ops()), "tests/it/kernels"));
}

#[test]
fn incomplete_directories_are_found() {
    let declared = |parts: &[&str]| format!("mod {};\n", parts.join(";\nmod "));
    let directory = |parts: &[&str], sentence: &str| Directory {
        name: "op".to_owned(),
        parts: parts.iter().map(ToString::to_string).collect(),
        module: declared(parts) + sentence,
        backward: String::new(),
    };
    assert!(directory(&PARTS, DIFFERENTIABLE).problems().is_empty());
    assert!(directory(&PARTS[..3], WITHOUT_GRADIENT).problems().is_empty());
    assert!(directory(&["labels"], "").problems().is_empty(), "not every directory is an op");
    for (parts, sentence) in [
        (&PARTS[1..], DIFFERENTIABLE),
        (&["reference", "cube", "backward"][..], DIFFERENTIABLE),
        (&["reference", "cpu", "backward"], DIFFERENTIABLE),
        (&PARTS[..3], DIFFERENTIABLE),
        (&PARTS, WITHOUT_GRADIENT),
    ] {
        assert_eq!(directory(parts, sentence).problems().len(), 1, "{parts:?} {sentence}");
    }
    assert!(!directory(&PARTS, "").problems().is_empty(), "nothing is said of the gradient");
    let mut undeclared = directory(&PARTS, DIFFERENTIABLE);
    undeclared.module = undeclared.module.replace("mod cube;", "");
    assert_eq!(undeclared.problems(), ["`op` does not declare `cube`"]);
}

#[test]
fn names_are_found_where_they_count() {
    let source = "const OTHERS: [(&str, u8); 1] = [(\"x\", 1)];
        const OPS: [(&str, bool, fn()); 2] = [(\"rope\", false, f), (\"linear\", true, g)];";
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(benched(source), set(&["rope", "linear"]));
    let ops = set(&["linear", "rope"]);
    assert_eq!(
        compared("uner_kernels::linear::reference(x)\nuner_kernels::rope::rope(", &ops),
        set(&["linear"])
    );
    assert_eq!(differences(&ops, &set(&["rope", "silu"]), "y").len(), 2);
}
