//! Limits that a card enforces at launch, and no compiler checks.

use std::collections::BTreeSet;

use cubecl::ir::{DeviceProperties, ElemType};

use super::KernelSource;
use super::recorder::Launch;

/// Every limit that the launch exceeds, and every matrix instruction that the card does not have.
pub(super) fn problems(
    source: &KernelSource,
    launch: &Launch,
    properties: &DeviceProperties,
) -> Vec<String> {
    let hardware = &properties.hardware;
    let (x, y, z) = source.cube_dim;
    let mut problems = Vec::new();
    let mut limit = |what: &str, value: usize, most: usize| {
        if value > most {
            problems.push(format!("{what}: {value}, at most {most}"));
        }
    };
    limit("bytes of shared memory", source.shared_memory, hardware.max_shared_memory_size);
    limit("units of a cube", (x * y * z) as usize, hardware.max_units_per_cube as usize);
    limit("buffers", launch.arguments.resources.len(), hardware.max_bindings as usize);
    let dims = [("units", source.cube_dim, hardware.max_cube_dim)];
    let counts = launch.cube_count.map(|count| ("cubes", count, hardware.max_cube_count));
    for (what, (x, y, z), most) in dims.into_iter().chain(counts) {
        limit(&format!("{what} in x"), x as usize, most.0 as usize);
        limit(&format!("{what} in y"), y as usize, most.1 as usize);
        limit(&format!("{what} in z"), z as usize, most.2 as usize);
    }
    let known = matrix_instructions(properties);
    let foreign = used_matrix_instructions(&source.text).filter(|used| !known.contains(*used));
    problems.extend(foreign.map(|used| format!("the card lacks `mma.sync.aligned.{used}`")));
    problems
}

/// `shape.row.col.d.a.b.c` of each instruction on floats that the card has.
fn matrix_instructions(properties: &DeviceProperties) -> BTreeSet<String> {
    let floats = properties
        .features
        .matmul
        .mma
        .iter()
        .filter(|mma| matches!(mma.a_type, ElemType::Float(_)));
    floats
        .map(|mma| {
            let (a, b, cd) = (mma.a_type, mma.b_type, mma.cd_type);
            format!("m{}n{}k{}.row.col.{cd}.{a}.{b}.{cd}", mma.m, mma.n, mma.k)
        })
        .collect()
}

fn used_matrix_instructions(text: &str) -> impl Iterator<Item = &str> {
    text.split("mma.sync.aligned.").skip(1).filter_map(|after| after.split_whitespace().next())
}
