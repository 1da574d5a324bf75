//! The programs as users run them: help, flags, exit codes, messages, and files on disk.

// Clippy allows `unwrap` in helpers only if it knows that they belong to tests.
#![cfg(test)]

mod adapter;
mod bad_data;
mod bad_recipes;
mod card;
mod commands;
mod damage;
mod devices;
mod downloads;
mod files;
mod gguf;
mod golden;
mod help;
mod hostile;
mod hub;
mod killed;
mod memory;
mod observe;
mod ranks;
mod runs;
mod serve;
mod signals;
mod spans;
mod systems;
mod tokens;
mod tutorial;
// With both features its kernels would be SPIR-V, on which software drivers crash.
#[cfg(all(feature = "webgpu", not(feature = "vulkan")))]
mod software_gpu;

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A tiny run on the first sentences of the demo corpus: seconds in any build.
const RECIPE: &str = r#"
[run]
dir = "run"
seed = 1
device = "flex"

[model]
weights = "random"
config = "model.toml"
tokenizer = "train"

[data]
root = "."
long_passages = "error"
negatives = { strategy = "frequency", ratio = 1.0 }
train = [{ dataset = "demo", split = "train", cap = 40 }]

[prompt]
template = "zero-shot"

[train]
epochs = 1.0
max_steps = 4
global_batch_size = 4
max_seq_len = 400
micro_batch_rows = 2
lr = 1e-3
schedule = "linear"
warmup_ratio = 0.0
weight_decay = 0.0
beta1 = 0.9
beta2 = 0.999
eps = 1e-8
max_grad_norm = 1.0
save_every = 2
keep_last = 2
validate_every = 0

[infer]
max_new_tokens = 4
queries_per_batch = 8

[eval]
benchmarks = [{ dataset = "demo", split = "test", limit = 2 }]
"#;

const MODEL: &str = "hidden_size = 32\nintermediate_size = 64\nnum_hidden_layers = 2\nnum_attention_heads = 2\n\
                     vocab_size = 512\nmax_position_embeddings = 512\ntie_word_embeddings = true\n";

/// F1 on one example every other step, with the best checkpoint kept.
const DURING: &str = r#"
[train.best]
by = "f1"

[eval.during]
every = 2
benchmarks = [{ dataset = "demo", split = "validation", limit = 1 }]
"#;

/// A folder with the recipe `tiny.toml`, in which the programs run.
struct Desk(TempDir);

/// The result of a program.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.write("tiny.toml", RECIPE);
        desk.write("model.toml", MODEL);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    /// Runs `uner` with these arguments.
    fn uner(&self, args: &[&str]) -> Outcome {
        self.run(Command::new(env!("CARGO_BIN_EXE_uner")).args(args))
    }

    /// `uner-train` by `tiny.toml` with these keys set, not started yet.
    fn trainer(&self, overrides: &[&str], resume: bool) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uner-train"));
        command
            .args(["--recipe", "tiny"])
            .args(overrides.iter().flat_map(|value| ["--set", value]));
        command
            .args(resume.then_some("--resume"))
            .current_dir(self.0.path())
            .stdout(std::process::Stdio::null());
        command
    }

    /// The events of one kind in a run's metrics.
    fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let text = self.read("run/metrics.jsonl");
        let events =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.filter(|event| event["event"] == kind).collect()
    }

    /// Names in the run's folder.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs_err::read_dir(self.path("run")) else { return Vec::new() };
        let names =
            entries.filter_map(|entry| Some(entry.ok()?.file_name().into_string().unwrap()));
        names.collect()
    }

    /// Trains by `tiny.toml` with these keys set.
    fn train(&self, overrides: &[&str]) -> Outcome {
        let sets = overrides.iter().flat_map(|value| ["--set", value]);
        self.uner(&["train", "--recipe", "tiny"].into_iter().chain(sets).collect::<Vec<_>>())
    }

    fn run(&self, command: &mut Command) -> Outcome {
        // Fixed, so that messages do not depend on the user's environment.
        command
            .current_dir(self.0.path())
            .env_remove("RUST_LOG")
            .env("COLUMNS", "100")
            .env("NO_COLOR", "1");
        // Tests use neither the network nor the user's cache.
        if !command.get_envs().any(|(name, _)| name == "HF_HOME") {
            command.env("HF_HOME", self.path("hub")).env("HF_ENDPOINT", "http://127.0.0.1:9");
        }
        let output = command.output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Outcome {
    /// Asserts that the exit code is `code`, and that stderr ends in an error with all of `parts`.
    #[track_caller]
    fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        let talk = format!("\n{}", self.stderr);
        let (_, error) =
            talk.rsplit_once("\nerror: ").unwrap_or_else(|| panic!("no error in: {talk}"));
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }

    #[track_caller]
    fn succeeds(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }
}

/// A file of the repository's test fixtures.
fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(path)
}
