# just --list

# Format the sources.
fmt:
    cargo fmt --all

# Lints, as CI runs them.
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --features webgpu,cuda --all-targets -- -D warnings

# All tests, or those that match.
test *args:
    cargo nextest run --release --workspace --features webgpu,cuda {{args}}

# Ten minutes of damaged input for a reader or the server, such as `just fuzz weights`; all of them
# run briefly in `just test`. A finding ends it with status 1 or 100; none with 124.
fuzz test minutes="10":
    PROPTEST_CASES=4000000000 timeout {{minutes}}m cargo nextest run --release --workspace --features webgpu,cuda -E 'test({{test}})'

# Measure; with PyTorch installed, also its training step.
bench *args:
    cargo bench --package uner-benches {{args}}

# The training step of PyTorch on the same model and batch.
bench-pytorch *args:
    python3 benches/pytorch_step.py {{args}}

# Train, evaluate and predict on the built-in corpus.
quickstart *args:
    cargo run --release --bin uner-train -- --recipe quickstart {{args}}

# Licences, sources and duplicate crates.
deny:
    cargo deny check bans licenses sources
