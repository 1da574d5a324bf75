//! The command line. Flags are frozen by a test.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use uner_kernels::device::DeviceName;

use crate::device;
use crate::hub::Accepted;
use crate::probe::ProbeArgs;
use crate::recipe::Override;

/// Open named-entity recognition by instruction tuning
#[derive(Debug, Parser)]
#[command(name = "uner", version)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Train a model by a recipe and measure it
#[derive(Debug, Parser)]
#[command(name = "uner-train", version)]
pub(crate) struct TrainLine {
    #[command(flatten)]
    pub(crate) args: TrainArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model by a recipe and measure it
    Train(TrainArgs),
    /// Measure a trained model on benchmarks
    Eval(EvalArgs),
    /// Ask a trained model for the entities in a text
    Predict(PredictArgs),
    /// Look at datasets, check them, encode conversations
    #[command(subcommand)]
    Data(DataCommand),
    /// Score predictions of any model
    Score(ScoreArgs),
    /// Compute a model's logits, losses and gradients on given ids
    Probe(ProbeArgs),
    /// Say what this machine and this program can compute on, and try it
    Doctor(DoctorArgs),
}

/// Train a model by a recipe and measure it
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// A recipe: a path, or a name looked up here, in `recipes/`, and among those built in
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) recipe: String,
    /// Set a key of the recipe to another value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Override>,
    #[arg(long, value_name = "DEVICE", value_parser = device::parse, help = device::HELP_OF_TRAIN)]
    pub(crate) device: Option<DeviceName>,
    /// Go on with a run, from its latest or from the named checkpoint
    #[arg(long, value_name = "latest|PATH", num_args = 0..=1, default_missing_value = "latest")]
    pub(crate) resume: Option<String>,
    /// Download the recipe's models and datasets from this repository of the Hugging Face hub: you have read and accept its
    /// licence; may be repeated
    #[arg(long, value_name = "hf:ORG/NAME")]
    pub(crate) accept_licence: Vec<Accepted>,
    /// Print what would be done and exit
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the first N encoded conversations, trained tokens in colour, and exit
    #[arg(long, value_name = "N")]
    pub(crate) show_mask: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// A benchmark, as `dataset` or `dataset:split` (default split: test); may be repeated
    #[arg(long, value_name = "DATASET[:SPLIT]", required = true)]
    pub(crate) benchmark: Vec<String>,
    /// Folder that the datasets' files are relative to
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(crate) root: PathBuf,
    /// Only the first N examples of each benchmark
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Folder for `report.md` and `report.json` [default: the model's folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text to search
    #[arg(long)]
    pub(crate) text: String,
    /// Entity types in plain words, separated by commas
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',', required = true)]
    pub(crate) types: Vec<String>,
}

/// A trained model and how to ask it.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A checkpoint, a run's folder (its latest checkpoint), or any Hugging Face folder
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The template it was trained with [default: the one in the folder]
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) template: Option<String>,
    /// Longest answer in tokens [default: as the folder's `infer.toml` says, else 256]
    #[arg(long, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
    #[arg(long, value_name = "DEVICE", default_value = "flex", value_parser = device::parse, help = device::HELP)]
    pub(crate) device: DeviceName,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Entity types from head to tail, lengths, duplicates
    Stats(SplitArgs),
    /// List every problem of a split with file and line
    Validate(SplitArgs),
    /// Encode conversations to token ids and labels
    Encode(EncodeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// A built-in dataset, or the path of a description
    pub(crate) dataset: String,
    /// Its split
    #[arg(long, default_value = "train")]
    pub(crate) split: String,
    /// Folder that the dataset's files are relative to
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(crate) root: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EncodeArgs {
    /// A built-in template, or the path of one
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) template: String,
    /// `tokenizer.json` or a SentencePiece `*.model`
    #[arg(long, value_name = "FILE")]
    pub(crate) tokenizer: PathBuf,
    /// JSON Lines of `{"conversations": [{"from", "value"}, …]}`
    #[arg(long, value_name = "CONVERSATIONS.jsonl")]
    pub(crate) input: PathBuf,
    /// JSON Lines of `{"ids": […], "labels": […]}`, in the same order
    #[arg(long, value_name = "OUT.jsonl")]
    pub(crate) output: PathBuf,
    /// Drop queries from the end of a conversation that has more tokens [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) max_seq_len: Option<usize>,
    /// Exactly as the released code of UniversalNER: the template `official`, cut at N tokens (default 1024) anywhere
    #[arg(long)]
    pub(crate) official: bool,
    /// The prompt that asks the last human turn, instead of a training conversation
    #[arg(long)]
    pub(crate) inference: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// Gold queries in the format of the official evaluation files
    #[arg(long, value_name = "SUBSET.json", requires = "predictions", required_unless_present = "bio")]
    pub(crate) gold: Option<PathBuf>,
    /// One `{"output": "…"}` a line, in the order of the queries
    #[arg(long, value_name = "PREDICTIONS.jsonl", requires = "gold")]
    pub(crate) predictions: Option<PathBuf>,
    /// One `{"gold": [tag, …], "pred": [tag, …]}` a line
    #[arg(long, value_name = "SPANS.jsonl", conflicts_with_all = ["gold", "predictions"])]
    pub(crate) bio: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Only this device
    #[arg(long, value_name = "DEVICE", value_parser = device::parse)]
    pub(crate) device: Option<DeviceName>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
