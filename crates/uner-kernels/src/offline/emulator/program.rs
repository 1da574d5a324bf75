//! Builds a program from the source of a kernel, and runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::KernelSource;
use super::Change;
use super::assembly::replace_assembly;

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
        let files = [
            ("cuda.h", include_str!("cuda.h")),
            ("blocks.h", include_str!("blocks.h")),
            ("machine.h", include_str!("machine.h")),
            ("warpgroup.h", include_str!("warpgroup.h")),
            ("runtime.cpp", include_str!("runtime.cpp")),
        ];
        for (name, text) in files {
            fs_err::write(folder.join(name), text).expect("the folder is ours");
        }
        let runtime =
            Self { object: folder.join("runtime.o"), include: format!("-I{}", folder.display()) };
        compile(
            &["-std=c++17", "-O2", "-c", "-DEMULATOR_RUNTIME", &runtime.include],
            &[&source],
            &runtime.object,
        );
        runtime
    }

    /// Builds the program of a kernel, its source changed by `change`.
    pub(super) fn link(
        &self,
        source: &KernelSource,
        change: Option<Change>,
        path: &Path,
    ) -> PathBuf {
        let (file, object) = (path.with_extension("cpp"), path.with_extension("o"));
        let text = change.map_or_else(|| source.text.clone(), |change| change(&source.text));
        assert!(change.is_none() || text != source.text, "the change changes nothing");
        fs_err::write(&file, translate(&text, &source.entry)).expect("the folder is ours");
        let flags =
            ["-std=c++17", "-O1", "-c", "-fsanitize=thread", "-fpermissive", "-w", &self.include];
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
/// Its stderr and status if it fails.
pub(super) fn run(
    program: &Path,
    arguments: &str,
    file: &Path,
    input: &[u8],
) -> Result<Vec<u8>, String> {
    fs_err::write(file, input).expect("the folder is ours");
    let input = fs_err::File::open(file).expect("it was just written").into_file();
    let done = Command::new(program).args(arguments.split_whitespace()).stdin(input).output();
    let done =
        done.unwrap_or_else(|error| panic!("`{}` does not start: {error}", program.display()));
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
            Some(declarations) => {
                let (declaration, tail) = declarations.split_once(';').expect("a declaration ends");
                let name =
                    declaration.split('[').next().and_then(|left| left.split(' ').next_back());
                format!(
                    "char* const {} = emulator_shared();\n{tail}",
                    name.expect("an array has a name")
                )
            }
            None => line.to_owned(),
        });
    }
    lines.push(format!("void emulator_kernel() {{ emulator::launch({entry}); }}\n"));
    replace_assembly(&lines.join("\n"))
}
