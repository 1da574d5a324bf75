//! Rebuilds the crate when a dataset description is added or removed: they are embedded in the
//! binary.

fn main() {
    println!("cargo::rerun-if-changed=../../configs/datasets");
}
