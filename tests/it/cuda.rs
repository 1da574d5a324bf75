//! The CUDA C++ of every kernel, without a GPU: it fits an H100, it is what was reviewed (`fixtures/cuda/kernels.tsv`),
//! and where NVIDIA's compiler is at hand (`UNER_CUDA_SDK`) it compiles without spilling registers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use uner_kernels::offline::{Nvrtc, Report, Source, sources};

use crate::shared::repository;

/// How far another release of the compiler may be from the table: the card hands out registers in eights.
const REGISTER_TOLERANCE: usize = 8;
const HEADER: &str = "kernel\tunits\tshared bytes\tsource\tregisters\tstack bytes\tspilled bytes\tHMMA";

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    label: String,
    /// Units of a cube.
    units: u32,
    shared_memory: usize,
    /// A checksum of the source, so that a change of generated code shows in review.
    source: String,
    /// What the compiler said; nothing where there is none.
    compiled: Option<Compiled>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Compiled {
    registers: usize,
    /// What lies in local memory: arrays that did not fit into registers, and spilled registers.
    stack: usize,
    spilled: usize,
    /// Tensor-core instructions; nothing where there is no disassembler.
    hmma: Option<usize>,
}

impl Row {
    fn of(source: &Source) -> Self {
        let (x, y, z) = source.cube_dim;
        let checksum = crc32fast::hash(source.stable_text().as_bytes());
        Self {
            label: source.label.clone(),
            units: x * y * z,
            shared_memory: source.shared_memory,
            source: format!("{checksum:08x}"),
            compiled: None,
        }
    }

    fn line(&self) -> String {
        let compiled = self.compiled.as_ref().expect("the table is written after compiling");
        let hmma = compiled.hmma.expect("the table is written after disassembling");
        let Self { label, units, shared_memory, source, .. } = self;
        let Compiled { registers, stack, spilled, .. } = compiled;
        format!("{label}\t{units}\t{shared_memory}\t{source}\t{registers}\t{stack}\t{spilled}\t{hmma}")
    }

    fn parse(line: &str) -> Self {
        let cells: Vec<_> = line.split('\t').collect();
        let [label, units, shared_memory, source, registers, stack, spilled, hmma] = cells[..] else {
            panic!("a row of the table has {} cells: `{line}`", cells.len());
        };
        let compiled = Compiled {
            registers: registers.parse().unwrap(),
            stack: stack.parse().unwrap(),
            spilled: spilled.parse().unwrap(),
            hmma: Some(hmma.parse().unwrap()),
        };
        Self {
            label: label.into(),
            units: units.parse().unwrap(),
            shared_memory: shared_memory.parse().unwrap(),
            source: source.into(),
            compiled: Some(compiled),
        }
    }

    /// Where `found` is not what this row of the table says.
    fn differences(&self, found: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, table: String, found: String| {
            if table != found {
                differences.push(format!("{}: {what} {found}, in the table {table}", self.label));
            }
        };
        compare("units", self.units.to_string(), found.units.to_string());
        compare("shared bytes", self.shared_memory.to_string(), found.shared_memory.to_string());
        compare("source", self.source.clone(), found.source.clone());
        let (Some(table), Some(compiled)) = (&self.compiled, &found.compiled) else { return differences };
        if table.registers.abs_diff(compiled.registers) > REGISTER_TOLERANCE {
            compare("registers", table.registers.to_string(), compiled.registers.to_string());
        }
        compare("stack bytes", table.stack.to_string(), compiled.stack.to_string());
        compare("spilled bytes", table.spilled.to_string(), compiled.spilled.to_string());
        if let (Some(table), Some(hmma)) = (table.hmma, compiled.hmma) {
            compare("HMMA", table.to_string(), hmma.to_string());
        }
        differences
    }
}

fn table_path() -> PathBuf {
    repository().join("tests/fixtures/cuda/kernels.tsv")
}

fn table() -> Vec<Row> {
    let text = fs_err::read_to_string(table_path()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADER), "the head of the table");
    lines.map(Row::parse).collect()
}

/// What differs between the table and what was found, kernels that only one of them has included.
fn differences(table: &[Row], found: &[Row]) -> Vec<String> {
    let by_label = |rows: &[Row]| -> BTreeMap<String, Row> {
        rows.iter().map(|row| (row.label.clone(), row.clone())).collect()
    };
    let (rows, kernels) = (by_label(table), by_label(found));
    let gone = rows.keys().filter(|label| !kernels.contains_key(*label));
    let gone = gone.map(|label| format!("{label}: in the table, but no kernel"));
    let changed = kernels.iter().flat_map(|(label, kernel)| match rows.get(label) {
        Some(row) => row.differences(kernel),
        None => vec![format!("{label}: not in the table")],
    });
    gone.chain(changed).collect()
}

fn assert_as_in_table(found: &[Row]) {
    let differences = differences(&table(), found);
    assert!(
        differences.is_empty(),
        "{} differences:\n{}\nIf they are meant, write the table anew: see tests/fixtures/cuda/README.md",
        differences.len(),
        differences.join("\n")
    );
}

/// Whether the table is to be written instead of compared.
fn updating() -> bool {
    std::env::var_os("UPDATE_CUDA_TABLE").is_some()
}

fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// How many tensor-core instructions machine code has. (`HFMA2.MMA` is none: it moves a number.)
fn count_hmma(tools: &Path, cubin: &[u8]) -> usize {
    let file = tempfile::NamedTempFile::with_suffix(".cubin").unwrap();
    fs_err::write(file.path(), cubin).unwrap();
    let path = std::env::join_paths([tools]).unwrap();
    let output =
        Command::new(tools.join("cuobjdump")).env("PATH", path).arg("-sass").arg(file.path()).output();
    let output = output.unwrap_or_else(|error| panic!("UNER_CUDA_TOOLS, {}: {error}", tools.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("Function : "),
        "cuobjdump: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.split_whitespace().filter(|word| word.starts_with("HMMA.")).count()
}

fn uses_tensor_cores(source: &Source) -> bool {
    source.text.contains("mma.sync.aligned") || source.text.contains("wmma::")
}

fn compiled(source: &Source, report: &Report, tools: Option<&Path>) -> Row {
    let hmma = match tools {
        Some(tools) if uses_tensor_cores(source) => Some(count_hmma(tools, &report.cubin)),
        None if uses_tensor_cores(source) => None,
        _ => Some(0),
    };
    let spilled = report.spill_stores + report.spill_loads;
    let compiled = Compiled { registers: report.registers, stack: report.stack, spilled, hmma };
    Row { compiled: Some(compiled), ..Row::of(source) }
}

/// The row of each kernel or why it does not compile, in the order of `sources`, one thread a processor.
fn compile_all(nvrtc: &Nvrtc, sources: &[Source], tools: Option<&Path>) -> Vec<Result<Row, String>> {
    let compile = |source: &Source| match nvrtc.compile(source) {
        Ok(report) => Ok(compiled(source, &report, tools)),
        Err(error) => Err(error.to_string()),
    };
    let threads = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        let chunks = sources.chunks(sources.len().div_ceil(threads));
        let workers: Vec<_> =
            chunks.map(|chunk| scope.spawn(move || chunk.iter().map(compile).collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// What is wrong with a compiled kernel, whatever the table says.
fn defects(source: &Source, row: &Row) -> Vec<String> {
    let compiled = row.compiled.as_ref().unwrap();
    let mut defects = Vec::new();
    if compiled.spilled > 0 {
        defects.push(format!("{}: {} bytes of registers spill", row.label, compiled.spilled));
    }
    if uses_tensor_cores(source) && compiled.hmma == Some(0) {
        defects.push(format!("{}: its matrix products do not reach the tensor cores", row.label));
    }
    defects
}

#[test]
fn every_kernel_fits_the_card() {
    let sources = sources();
    let problems: Vec<String> = sources
        .iter()
        .flat_map(|source| source.problems.iter().map(|problem| format!("{}: {problem}", source.label)))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn generated_code_is_what_was_reviewed() {
    if updating() {
        return;
    }
    let found: Vec<Row> = sources().iter().map(Row::of).collect();
    assert_as_in_table(&found);
}

#[test]
fn every_kernel_compiles_without_spills() {
    let Some(sdk) = folder("UNER_CUDA_SDK") else {
        assert!(!updating(), "to write the table, set UNER_CUDA_SDK and UNER_CUDA_TOOLS");
        eprintln!("SKIPPED: set UNER_CUDA_SDK to a folder with `lib/libnvrtc.so.13` and `include`");
        return;
    };
    let tools = folder("UNER_CUDA_TOOLS");
    if tools.is_none() {
        assert!(!updating(), "to write the table, set UNER_CUDA_TOOLS");
        eprintln!("SKIPPED: tensor-core instructions; set UNER_CUDA_TOOLS to the folder of `cuobjdump`");
    }
    let nvrtc = Nvrtc::open(&sdk).unwrap_or_else(|error| panic!("UNER_CUDA_SDK: {error}"));
    let sources = sources();
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (source, result) in sources.iter().zip(compile_all(&nvrtc, &sources, tools.as_deref())) {
        match result {
            Ok(row) => {
                problems.extend(defects(source, &row));
                rows.push(row);
            }
            Err(error) => problems.push(error),
        }
    }
    if updating() {
        let lines: Vec<String> = rows.iter().map(Row::line).collect();
        fs_err::write(table_path(), format!("{HEADER}\n{}\n", lines.join("\n"))).unwrap();
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_as_in_table(&rows);
}

#[test]
fn rows_survive_the_table_and_differences_are_found() {
    let row = |label: &str, registers, hmma| Row {
        label: label.into(),
        units: 256,
        shared_memory: 32,
        source: "00c0ffee".into(),
        compiled: Some(Compiled { registers, stack: 0, spilled: 0, hmma: Some(hmma) }),
    };
    let table = [row("a/b f32", 40, 0), row("c/d bf16", 128, 16)];
    let read: Vec<Row> = table.iter().map(|row| Row::parse(&row.line())).collect();
    assert_eq!(read, table);
    assert_eq!(differences(&table, &read), [""; 0]);

    assert_eq!(differences(&table, &[row("a/b f32", 48, 0), row("c/d bf16", 120, 16)]), [""; 0]);
    let found = [row("a/b f32", 49, 0), row("c/d bf16", 128, 12)];
    let expected = ["a/b f32: registers 49, in the table 40", "c/d bf16: HMMA 12, in the table 16"];
    assert_eq!(differences(&table, &found), expected);
    let found = [Row { source: "0badcafe".into(), compiled: None, ..row("a/b f32", 0, 0) }, row("e/f", 1, 0)];
    assert_eq!(
        differences(&table, &found),
        [
            "c/d bf16: in the table, but no kernel",
            "a/b f32: source 0badcafe, in the table 00c0ffee",
            "e/f: not in the table"
        ]
    );
}
