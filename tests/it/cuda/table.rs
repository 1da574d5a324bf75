//! The table of reviewed kernels: `fixtures/cuda/kernels.tsv`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use uner_kernels::offline::KernelSource;

use crate::shared::repository;

/// Largest difference in registers between another release of the compiler and the table: the GPU
/// allocates registers in eights.
const REGISTER_TOLERANCE: usize = 8;
const HEADER: &str =
    "kernel\tunits\tshared bytes\tsource\tregisters\tstack bytes\tspilled bytes\tHMMA";

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) label: String,
    /// Number of units in a cube.
    pub(super) units: u32,
    pub(super) shared_memory: usize,
    /// A checksum of the source, so that a change of generated code shows in review.
    pub(super) source: String,
    /// The compiler's results; `None` without a compiler.
    pub(super) compiled: Option<Compiled>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compiled {
    pub(super) registers: usize,
    /// Bytes in local memory: arrays that did not fit into registers, and spilled registers.
    pub(super) stack: usize,
    pub(super) spilled: usize,
    /// Number of tensor-core instructions; `None` without a disassembler.
    pub(super) hmma: Option<usize>,
}

impl Row {
    pub(super) fn of(source: &KernelSource) -> Self {
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
        format!(
            "{label}\t{units}\t{shared_memory}\t{source}\t{registers}\t{stack}\t{spilled}\t{hmma}"
        )
    }

    fn parse(line: &str) -> Self {
        let cells: Vec<_> = line.split('\t').collect();
        let [label, units, shared_memory, source, registers, stack, spilled, hmma] = cells[..]
        else {
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

    /// Lists the differences of `found` from this row of the table.
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
        let (Some(table), Some(compiled)) = (&self.compiled, &found.compiled) else {
            return differences;
        };
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

fn path() -> PathBuf {
    repository().join("tests/fixtures/cuda/kernels.tsv")
}

/// Reads the rows of the table.
pub(super) fn read() -> Vec<Row> {
    let text = fs_err::read_to_string(path()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADER), "the head of the table");
    lines.map(Row::parse).collect()
}

/// Lists the differences between the table and the kernels found, including kernels in only one.
pub(super) fn differences(table: &[Row], found: &[Row]) -> Vec<String> {
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

/// Writes the table.
pub(super) fn write(rows: &[Row]) {
    let lines: Vec<String> = rows.iter().map(Row::line).collect();
    fs_err::write(path(), format!("{HEADER}\n{}\n", lines.join("\n"))).unwrap();
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
    let found = [
        Row { source: "0badcafe".into(), compiled: None, ..row("a/b f32", 0, 0) },
        row("e/f", 1, 0),
    ];
    assert_eq!(
        differences(&table, &found),
        [
            "c/d bf16: in the table, but no kernel",
            "a/b f32: source 0badcafe, in the table 00c0ffee",
            "e/f: not in the table"
        ]
    );
}
