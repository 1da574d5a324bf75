//! Checks the CUDA C++ of every kernel without a GPU: it fits an H100 and equals the reviewed code
//! (`fixtures/cuda/kernels.tsv`). With NVIDIA's compiler (`UNER_CUDA_SDK`) it also compiles and has
//! enough registers.

mod complete;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use uner_kernels::offline::{KernelSource, Nvrtc, Report, sources};

use self::table::{Compiled, Row};

/// Whether the table is to be written instead of compared.
fn updating() -> bool {
    std::env::var_os("UPDATE_CUDA_TABLE").is_some()
}

fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// Counts the tensor-core instructions in machine code, of planes and of warp groups. (`HFMA2.MMA`
/// does not count: it moves a number.)
fn count_products(tools: &Path, cubin: &[u8]) -> usize {
    let file = tempfile::NamedTempFile::with_suffix(".cubin").unwrap();
    fs_err::write(file.path(), cubin).unwrap();
    let path = std::env::join_paths([tools]).unwrap();
    let output = Command::new(tools.join("cuobjdump"))
        .env("PATH", path)
        .arg("-sass")
        .arg(file.path())
        .output();
    let output =
        output.unwrap_or_else(|error| panic!("UNER_CUDA_TOOLS, {}: {error}", tools.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("Function : "),
        "cuobjdump: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let products = |word: &&str| word.starts_with("HMMA.") || word.starts_with("HGMMA.");
    text.split_whitespace().filter(products).count()
}

fn uses_tensor_cores(source: &KernelSource) -> bool {
    ["mma.sync.aligned", "wgmma.mma_async", "wmma::"]
        .iter()
        .any(|product| source.text.contains(product))
}

fn compiled(source: &KernelSource, report: &Report, tools: Option<&Path>) -> Row {
    let hmma = match tools {
        Some(tools) if uses_tensor_cores(source) => Some(count_products(tools, &report.cubin)),
        None if uses_tensor_cores(source) => None,
        _ => Some(0),
    };
    let (registers, stack, spilled) = (report.registers, report.stack, report.spilled());
    let compiled = Compiled { registers, stack, spilled, hmma };
    Row { compiled: Some(compiled), ..Row::of(source) }
}

/// Returns the defects of a compiled kernel, whatever the table says.
fn defects(source: &KernelSource, report: &Report, row: &Row) -> Vec<String> {
    let compiled = row.compiled.as_ref().unwrap();
    let mut defects = Vec::new();
    // Other spills are the assembler's choice; the table lists them.
    if report.short > 0 {
        defects.push(format!(
            "{}: {} bytes of registers spill, even of a cube alone",
            row.label, report.short
        ));
    }
    if uses_tensor_cores(source) && compiled.hmma == Some(0) {
        defects.push(format!("{}: its matrix products do not reach the tensor cores", row.label));
    }
    defects
}

/// Returns the row of each kernel and the problems found. Without a compiler, its results are left
/// out.
fn reviewed(sources: &[KernelSource]) -> (Vec<Row>, Vec<String>) {
    let Some(sdk) = folder("UNER_CUDA_SDK") else {
        assert!(!updating(), "to write the table, set UNER_CUDA_SDK and UNER_CUDA_TOOLS");
        eprintln!("SKIPPED: set UNER_CUDA_SDK to a folder with `lib/libnvrtc.so.13` and `include`");
        return (sources.iter().map(Row::of).collect(), Vec::new());
    };
    let tools = folder("UNER_CUDA_TOOLS");
    if tools.is_none() {
        assert!(!updating(), "to write the table, set UNER_CUDA_TOOLS");
        eprintln!(
            "SKIPPED: tensor-core instructions; set UNER_CUDA_TOOLS to the folder of `cuobjdump`"
        );
    }
    let nvrtc = Nvrtc::open(&sdk).unwrap_or_else(|error| panic!("UNER_CUDA_SDK: {error}"));
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (source, result) in sources.iter().zip(nvrtc.compile_all(sources)) {
        match result {
            Ok(report) => {
                let row = compiled(source, &report, tools.as_deref());
                problems.extend(defects(source, &report, &row));
                rows.push(row);
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    (rows, problems)
}

/// All checks are one test, because expanding the kernels takes most of the time.
#[test]
fn every_kernel_is_listed_fits_the_card_and_is_as_reviewed() {
    let sources = sources();
    let mut problems = complete::unlisted(&sources);
    let limits =
        sources.iter().flat_map(|source| source.problems.iter().map(move |limit| (source, limit)));
    problems.extend(limits.map(|(source, limit)| format!("{}: {limit}", source.label)));
    let (rows, defects) = reviewed(&sources);
    problems.extend(defects);
    if updating() {
        table::write(&rows);
    }
    let differences = table::differences(&table::read(), &rows);
    if !differences.is_empty() {
        problems.extend(differences);
        problems.push(
            "If that is meant, write the table anew: see tests/fixtures/cuda/README.md".to_owned(),
        );
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
