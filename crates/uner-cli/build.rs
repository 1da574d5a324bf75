//! Rebuilds the crate when a recipe or model configuration is added or removed: they are embedded in the binary.

fn main() {
    #[expect(clippy::print_stdout, reason = "the protocol between a build script and cargo")]
    {
        println!("cargo::rerun-if-changed=../../recipes");
        println!("cargo::rerun-if-changed=../../configs/models");
    }
}
