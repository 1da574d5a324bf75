//! Rebuilds the crate when a recipe or model configuration is added or removed: they are embedded
//! in the binary.

fn main() {
    println!("cargo::rerun-if-changed=../../recipes");
    println!("cargo::rerun-if-changed=../../configs/models");
}
