//! From the source of a kernel to a program that runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Source;
use super::Change;

/// The C++ compiler.
pub(super) const COMPILER: &str = "c++";

/// The part that all programs share, compiled.
pub(super) struct Runtime {
    object: PathBuf,
    include: String,
}

impl Runtime {
    pub(super) fn build(folder: &Path) -> Self {
        let source = folder.join("runtime.cpp");
        fs_err::write(folder.join("cuda.h"), include_str!("cuda.h")).expect("the folder is ours");
        fs_err::write(&source, include_str!("runtime.cpp")).expect("the folder is ours");
        let runtime = Self { object: folder.join("runtime.o"), include: format!("-I{}", folder.display()) };
        compile(
            &["-std=c++17", "-O2", "-c", "-DEMULATOR_RUNTIME", &runtime.include],
            &[&source],
            &runtime.object,
        );
        runtime
    }

    /// Builds the program of a kernel, its source changed by `change`.
    pub(super) fn link(&self, source: &Source, change: Option<Change>, path: &Path) -> PathBuf {
        let (file, object) = (path.with_extension("cpp"), path.with_extension("o"));
        let text = change.map_or_else(|| source.text.clone(), |change| change(&source.text));
        assert!(change.is_none() || text != source.text, "the change changes nothing");
        fs_err::write(&file, translate(&text, &source.entry)).expect("the folder is ours");
        let flags = ["-std=c++17", "-O1", "-c", "-fsanitize=thread", "-fpermissive", "-w", &self.include];
        compile(&flags, &[&file], &object);
        let program = path.with_extension("program");
        compile(&[], &[&object, &self.object], &program);
        program
    }
}

fn compile(flags: &[&str], inputs: &[&Path], output: &Path) {
    let done = Command::new(COMPILER).args(flags).args(inputs).arg("-o").arg(output).output();
    let done = done.unwrap_or_else(|error| panic!("`{COMPILER}` does not start: {error}"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Runs a program.
///
/// # Errors
/// What it says on stderr where it fails.
pub(super) fn run(program: &Path, arguments: &str, file: &Path, input: &[u8]) -> Result<Vec<u8>, String> {
    fs_err::write(file, input).expect("the folder is ours");
    let input = fs_err::File::open(file).expect("it was just written").into_file();
    let done = Command::new(program).args(arguments.split_whitespace()).stdin(input).output();
    let done = done.unwrap_or_else(|error| panic!("`{}` does not start: {error}", program.display()));
    if done.status.success() {
        return Ok(done.stdout);
    }
    Err(format!("{}, {}", String::from_utf8_lossy(&done.stderr).trim(), done.status))
}

/// The kernel in C++ for `cuda.h`, and the function that launches it.
fn translate(source: &str, entry: &str) -> String {
    let mut lines = vec!["#include \"cuda.h\"".to_owned()];
    for line in source.lines() {
        if line.starts_with("#include")
            || line.starts_with("typedef unsigned")
            || line.starts_with("typedef signed")
        {
            continue;
        }
        lines.push(match line.strip_prefix("extern __shared__") {
            Some(rest) => {
                let (declaration, tail) = rest.split_once(';').expect("a declaration ends");
                let name = declaration.split('[').next().and_then(|left| left.split(' ').next_back());
                format!("char* const {} = emulator_shared();\n{tail}", name.expect("an array has a name"))
            }
            None => line.to_owned(),
        });
    }
    lines.push(format!("void emulator_kernel() {{ emulator::launch({entry}); }}\n"));
    replace_assembly(&lines.join("\n"))
}

/// Turns each `asm` statement into a call.
fn replace_assembly(source: &str) -> String {
    let mut replaced = String::new();
    let mut rest = source;
    while let Some(at) = rest.find("asm ") {
        let (before, statement) = rest.split_at(at);
        let end = closing(statement, statement.find('(').expect("a statement has operands"));
        let mut quoted = statement[..end].splitn(3, '"');
        let (template, operands) = (quoted.nth(1).expect("a template"), quoted.next().expect("its end"));
        replaced += before;
        replaced += &call(&template.replace("\\n", " "), operands);
        rest = &statement[end + 1..];
    }
    replaced + rest
}

/// The position of the parenthesis that closes the one at `open`.
fn closing(text: &str, open: usize) -> usize {
    let (mut depth, mut quoted) = (0, false);
    let end = text.bytes().enumerate().skip(open).find(|(_, byte)| {
        match byte {
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.expect("parentheses are closed").0
}

/// The C++ expressions in `: "=f"(a), "=f"(b) : "r"(c) : "memory"`, in order.
fn expressions(operands: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = operands;
    while let Some(at) = rest.find("\"(") {
        let end = closing(rest, at + 1);
        found.push(&rest[at + 2..end]);
        rest = &rest[end + 1..];
    }
    found
}

/// The call of `cuda.h` for an instruction.
fn call(template: &str, operands: &str) -> String {
    let numbers: Vec<usize> = template
        .split('%')
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect();
    let in_order = numbers.iter().copied().eq(0..numbers.len());
    assert!(in_order || template.contains("cvta"), "`{template}` does not take its operands in order");
    let offset =
        template.split_once(" + ").map_or("0", |(_, rest)| rest.split(']').next().expect("an address"));
    let word = template.split([' ', ';']).next().unwrap_or_default();
    let (name, leading) = match word {
        "{" if template.contains("cvta.to.shared.u64") => ("cvta", vec![]),
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" => ("mma", vec!["true"]),
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32" => ("mma", vec!["false"]),
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16" => ("ldmatrix", vec!["false", offset]),
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16" => ("ldmatrix", vec!["true", offset]),
        "cp.async.cg.shared.global" => ("copy_async", vec!["16", offset]),
        "cp.async.ca.shared.global" => ("copy_async", vec!["4", offset]),
        "cp.async.commit_group" => ("commit", vec![]),
        "cp.async.wait_group" if template.contains(" 0") => ("wait", vec![]),
        "ld.shared.v2.f32" | "ld.shared.v2.s32" => ("load_pair", vec![offset]),
        "cvt.rn.bf16x2.f32" => ("pack", vec!["true"]),
        "cvt.rn.f16x2.f32" => ("pack", vec!["false"]),
        "ex2.approx.ftz.f32" => ("ex2", vec![]),
        "sqrt.approx.ftz.f32" => ("root", vec![]),
        "rcp.approx.ftz.f32" => ("reciprocal", vec![]),
        "shfl.sync.bfly.b32" => ("shuffle_xor", vec![template.split(", ").nth(2).expect("a mask")]),
        _ => panic!("`{template}` is not emulated"),
    };
    let arguments: Vec<_> = leading.into_iter().chain(expressions(operands)).collect();
    format!("emulator::{name}({})", arguments.join(", "))
}
