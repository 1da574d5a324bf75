//! The command line. A test freezes its help texts.

pub(crate) mod data;
pub(crate) mod serve;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use safetensors::Dtype;
use uner_data::documents::DocumentFormat;
use uner_data::predictions::PredictionFormat;
use uner_distill::folder::Shard;
use uner_infer::Decoding;
use uner_infer::engine::Sampling;
use uner_kernels::device::DeviceName;
use uner_plan::machine::{self, Devices};

use uner_plan::hub::Accepted;
use uner_plan::recipe::Override;

use self::data::DataCommand;
use self::serve::{CompletionsArgs, ManArgs, ServeArgs};
use crate::values::{decoding, dtype, fraction, path, positive, size};

/// The help text of `--device`.
pub(crate) const DEVICE_HELP: &str =
    "Where to compute: `flex` (the CPU), `webgpu:N`, `webgpu:cpu` (software), `vulkan:N`, `cuda:N`";
/// The help text of `--device` in commands whose recipe sets the device.
const HELP_OF_TRAIN: &str = "Set `run.device`: `flex` (the CPU), `webgpu:N`, `webgpu:cpu` (software), `vulkan:N`, `cuda:N`, several as `cuda:0-7`";

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
    /// Draw the metrics of one or more runs as one HTML page
    Report(ReportArgs),
    /// Measure a model, an endpoint, or another program's predictions on benchmarks
    Eval(EvalArgs),
    /// Test whether one system is better than another on the benchmarks that both have answered
    Compare(CompareArgs),
    /// Print a table of the paper of UniversalNER with our own numbers beside the published ones
    Reproduce(ReproduceArgs),
    /// Ask a trained model for the entities in a text
    Predict(PredictArgs),
    /// Answer requests over HTTP: entities, chats, and a page to try a model
    Serve(ServeArgs),
    /// Turn raw text into training data: passages, annotated by a teacher
    Distill(DistillArgs),
    /// Prepare a folder for fine-tuning on your own annotations: splits, description, recipes
    InitDomain(InitDomainArgs),
    /// Look at datasets, check them, encode conversations
    #[command(subcommand)]
    Data(DataCommand),
    /// Score predictions of any model
    Score(ScoreArgs),
    /// Compute a model's logits, losses and gradients on given ids
    Probe(ProbeArgs),
    /// Write a trained model as a plain folder that other programs read
    ///
    /// `--gguf` writes a file for llama.cpp. For models that it refuses, run
    /// `convert_hf_to_gguf.py` of llama.cpp on the folder; merge adapters with `--merge` first.
    Export(ExportArgs),
    /// Turn a GGUF file, the format of llama.cpp, into a model folder
    ///
    /// Quantised weights are widened. The folder can be trained, served and read by transformers.
    Import(ImportArgs),
    /// Compare every file of a run's checkpoints, or of an exported model, with its checksum
    Verify(VerifyArgs),
    /// Describe the machine, and test every device
    Doctor(DoctorArgs),
    /// Print the script that completes this program's commands in a shell
    Completions(CompletionsArgs),
    /// Write the manual pages
    Man(ManArgs),
}

/// Prepare a folder for fine-tuning on your own annotations: splits, description, recipes
#[derive(Debug, Args)]
pub(crate) struct InitDomainArgs {
    /// Annotated files or folders, in the format of any common tool, and last the folder to write
    #[arg(value_name = "FILE|DIR", required = true, num_args = 2.., value_parser = path())]
    pub(crate) paths: Vec<PathBuf>,
    /// The name of the dataset [default: that of the folder]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What the division into splits depends on
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep texts together whose ids are equal before the last SEPARATOR: `-` joins `report-7-1`
    /// and `report-7-2`
    #[arg(long, value_name = "SEPARATOR")]
    pub(crate) group_by_prefix: Option<String>,
    /// The model that the recipe trains: a folder or `hf:org/name` [default: models/base]
    #[arg(long, value_name = "DIR|hf:ORG/NAME")]
    pub(crate) weights: Option<String>,
    /// A dataset that the recipe also trains on, against forgetting; `""` for none [default:
    /// pile-ner-type]
    #[arg(long, value_name = "DATASET")]
    pub(crate) replay: Option<String>,
}

/// Turn raw text into training data: passages, annotated by a teacher
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DistillArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DistillCommand>,
    /// A recipe: a path, or a name looked up here, in `recipes/distill/`, and among those built in
    #[arg(long, value_name = "NAME|FILE", required = true)]
    pub(crate) recipe: Option<String>,
    /// Set a key of the recipe to another value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Override>,
    /// Annotate only every N-th passage, from the I-th, on one of N machines
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Download the teacher from this repository of the Hugging Face hub: you have read and accept
    /// its licence
    #[arg(long, value_name = "hf:ORG/NAME")]
    pub(crate) accept_licence: Vec<Accepted>,
    /// Draw the passages, print what the answers would cost, and exit
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DistillCommand {
    /// Join the shards of a recipe, and build their training data
    Merge(DistillMergeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DistillMergeArgs {
    /// The recipe of the shards
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) recipe: String,
    /// Set a key of the recipe to another value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Override>,
    /// Leave out passages without an answer
    #[arg(long)]
    pub(crate) allow_unanswered: bool,
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
    #[arg(long, value_name = "DEVICE", help = HELP_OF_TRAIN)]
    pub(crate) device: Option<Devices>,
    /// Resume a run from its latest or from the named checkpoint
    #[arg(long, value_name = "latest|PATH", num_args = 0..=1, default_missing_value = "latest")]
    pub(crate) resume: Option<String>,
    /// Download the recipe's models and datasets from this repository of the Hugging Face hub: you
    /// have read and accept its licence; may be repeated
    #[arg(long, value_name = "hf:ORG/NAME")]
    pub(crate) accept_licence: Vec<Accepted>,
    /// Print what would be done and exit
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With `--dry-run`: exit with 3 if files are missing
    #[arg(long, requires = "dry_run")]
    pub(crate) strict: bool,
    /// Print the first N encoded conversations, trained tokens in colour, and exit
    #[arg(long, value_name = "N")]
    pub(crate) show_mask: Option<usize>,
    /// Compute every step twice and stop if the two differ in any bit; takes twice the time
    #[arg(long)]
    pub(crate) check_determinism: bool,
    /// Train N steps with every op timed, print where the time goes, and exit without saving
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) profile: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The folder of a run, finished or not; several are drawn over each other
    #[arg(value_name = "RUN", required = true, value_parser = path())]
    pub(crate) runs: Vec<PathBuf>,
    /// The page [default: `training.html` in the folder of the first run]
    #[arg(long, value_name = "FILE.html", value_parser = path())]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The folder of a run, of one checkpoint, or of an exported model
    #[arg(value_name = "RUN", value_parser = path())]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The folder of an evaluation
    #[arg(value_name = "FIRST", value_parser = path())]
    pub(crate) first: PathBuf,
    /// The folder of another, of the same queries
    #[arg(value_name = "SECOND", value_parser = path())]
    pub(crate) second: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReproduceArgs {
    /// A table: `zero-shot`, `supervised`, `negatives`, `template` or `variants`
    #[arg(value_name = "TABLE")]
    pub(crate) table: String,
    /// Folder that the folders of evaluations and runs are relative to
    #[arg(long, value_name = "DIR", default_value = ".", value_parser = path())]
    pub(crate) root: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The recipe of an evaluation: a path, or a name looked up here, in `recipes/eval/`, and among
    /// those built in. It names the system, also an endpoint or files of predictions
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["model", "benchmark", "list", "sample", "root", "limit", "output", "base", "template", "max_new_tokens", "queries_per_batch", "decoding", "int8", "device"])]
    pub(crate) recipe: Option<String>,
    /// Set a key of the recipe to another value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "recipe")]
    pub(crate) set: Vec<Override>,
    /// A checkpoint, a run's folder (its best checkpoint if it has one, else its latest), any
    /// Hugging Face folder, a PEFT adapter, or a repository of the Hugging Face hub
    #[arg(long, value_name = "DIR|hf:ORG/NAME", value_parser = path(), required_unless_present = "recipe")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
    /// A benchmark, as `dataset` or `dataset:split` (default split: test); may be repeated
    #[arg(long, value_name = "DATASET[:SPLIT]", required_unless_present_any = ["list", "recipe"])]
    pub(crate) benchmark: Vec<String>,
    /// The test splits of a list of datasets, such as `zero-shot-7` or `universal-43`
    #[arg(long, value_name = "LIST")]
    pub(crate) list: Option<String>,
    /// Ask only so many queries of each benchmark, drawn at random (200,000 in the paper)
    #[arg(long, value_name = "N")]
    pub(crate) sample: Option<NonZeroUsize>,
    /// What the sample depends on
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sample")]
    pub(crate) seed: u64,
    /// Folder that the datasets' files are relative to [default: that of a description; for
    /// built-in datasets that of the model's run, else `data`]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) root: Option<PathBuf>,
    /// Only the first N examples of each benchmark
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<NonZeroUsize>,
    /// Also print how often entities of a probability are correct (`report.json` always has it)
    #[arg(long)]
    pub(crate) calibration: bool,
    /// Folder for `report.md`, `report.json` and every answer [default: one in `eval` of the
    /// model's folder, named after the benchmarks]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) output: Option<PathBuf>,
    /// Continue an evaluation that was interrupted: nothing is asked twice
    #[arg(long)]
    pub(crate) resume: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// A checkpoint, a run's folder (its best checkpoint if it has one, else its latest), any
    /// Hugging Face folder, a PEFT adapter, or a repository of the Hugging Face hub
    #[arg(long, value_name = "DIR|hf:ORG/NAME", value_parser = path())]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
    /// The text to search; its entities are printed as JSON
    #[arg(long, required_unless_present = "input", conflicts_with = "input")]
    pub(crate) text: Option<String>,
    /// Entity types in plain words, separated by commas; may be repeated
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',')]
    pub(crate) types: Vec<String>,
    /// An entity type, which may have commas; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) one_type: Vec<String>,
    /// A file with an entity type per line
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) types_file: Option<PathBuf>,
    /// Leave out entities that are less probable
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = fraction)]
    pub(crate) threshold: f64,
    /// Also print each answer as the model wrote it
    #[arg(long, conflicts_with = "input")]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) files: FilesArgs,
}

/// How tokens are chosen.
#[derive(Debug, Args)]
pub(crate) struct SamplingArgs {
    /// Draw tokens at random, from probabilities sharpened below 1 and flattened above [default:
    /// the most probable token]
    #[arg(long, value_name = "T", value_parser = positive)]
    pub(crate) temperature: Option<f64>,
    /// Draw only from the most probable tokens that have this probability together
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = fraction, requires = "temperature")]
    pub(crate) top_p: f64,
    /// What the draws depend on, besides the text and the type
    #[arg(long, value_name = "N", default_value_t = 0, requires = "temperature")]
    pub(crate) seed: u64,
}

impl From<&SamplingArgs> for Sampling {
    fn from(args: &SamplingArgs) -> Self {
        let &SamplingArgs { temperature, top_p, seed } = args;
        temperature.map_or(Self::Greedy, |temperature| Self::Random { temperature, top_p, seed })
    }
}

/// Documents to search, and where their entities go.
#[derive(Debug, Args)]
pub(crate) struct FilesArgs {
    /// Documents to search: JSON Lines, CSV or TSV, plain text, a folder of `.txt`, or `-`
    #[arg(long, value_name = "FILE|DIR|-", value_parser = path(), requires = "output")]
    pub(crate) input: Option<PathBuf>,
    /// `json-lines`, `csv`, `tsv`, `text` (one document), `lines` (one per line) or `folder`
    /// [default: by the name of the input]
    #[arg(long, value_name = "FORMAT", requires = "input")]
    pub(crate) input_format: Option<DocumentFormat>,
    /// Key or column of a document's text
    #[arg(long, value_name = "KEY", default_value = "text", requires = "input")]
    pub(crate) text_key: String,
    /// Key or column of a document's id [default: its number, or the name of its file]
    #[arg(long, value_name = "KEY", requires = "input")]
    pub(crate) id_key: Option<String>,
    /// Key or column of the types to ask of a document, in place of the others
    #[arg(long, value_name = "KEY", requires = "input")]
    pub(crate) types_key: Option<String>,
    /// File for the entities (a folder for brat)
    #[arg(long, value_name = "FILE", value_parser = path(), requires = "input")]
    pub(crate) output: Option<PathBuf>,
    /// `json-lines`, `conll`, `spacy`, `label-studio` or `brat`
    #[arg(long, value_name = "FORMAT", default_value = "json-lines", requires = "input")]
    pub(crate) output_format: PredictionFormat,
    /// Continue an output that was interrupted
    #[arg(long, requires = "input")]
    pub(crate) resume: bool,
}

/// How a model is queried.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The model that an adapter belongs to [default: the one that the adapter names]
    #[arg(long, value_name = "DIR|hf:ORG/NAME", value_parser = path())]
    pub(crate) base: Option<PathBuf>,
    /// Download from this repository of the Hugging Face hub: you have read and accept its licence;
    /// may be repeated
    #[arg(long, value_name = "hf:ORG/NAME")]
    pub(crate) accept_licence: Vec<Accepted>,
    /// The template it was trained with [default: the one in the folder]
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) template: Option<String>,
    /// Longest answer in tokens [default: as the folder's `infer.toml` says, else 256]
    #[arg(long, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
    /// Queries decoded together: more are faster, and take more memory [default: as the folder's
    /// `infer.toml` says, else 64]
    #[arg(long, value_name = "N")]
    pub(crate) queries_per_batch: Option<NonZeroUsize>,
    /// Allow only mentions that occur in the text (`grounded`), or any answer (`free`, as in the
    /// released code of UniversalNER) [default: as the folder's `infer.toml` says, else `grounded`]
    #[arg(long, value_name = "grounded|free", value_parser = decoding)]
    pub(crate) decoding: Option<Decoding>,
    /// Store the layers of the model in 8 bits: faster on the CPU and a quarter of the memory, with
    /// slightly other answers
    #[arg(long)]
    pub(crate) int8: bool,
    #[arg(long, value_name = "DEVICE", default_value = "flex", value_parser = machine::parse, help = DEVICE_HELP)]
    pub(crate) device: DeviceName,
}

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// Gold queries in the format of the official evaluation files
    #[arg(long, value_name = "SUBSET.json", requires = "predictions", required_unless_present_any = ["bio", "evaluation"], value_parser = path())]
    pub(crate) gold: Option<PathBuf>,
    /// One `{"output": "…"}` a line, in the order of the queries
    #[arg(long, value_name = "PREDICTIONS.jsonl", requires = "gold", value_parser = path())]
    pub(crate) predictions: Option<PathBuf>,
    /// One `{"gold": [tag, …], "pred": [tag, …]}` a line
    #[arg(long, value_name = "SPANS.jsonl", conflicts_with_all = ["gold", "predictions"], value_parser = path())]
    pub(crate) bio: Option<PathBuf>,
    /// The folder of an evaluation: its scores are computed from its answers again
    #[arg(long, value_name = "DIR", conflicts_with_all = ["gold", "predictions", "bio"], value_parser = path())]
    pub(crate) evaluation: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A checkpoint, a run's folder (its best checkpoint if it has one, else its latest), any
    /// Hugging Face folder, a PEFT adapter, or a repository of the Hugging Face hub
    #[arg(long, value_name = "DIR|hf:ORG/NAME", value_parser = path())]
    pub(crate) model: PathBuf,
    /// Folder to write; it must not exist
    #[arg(long, value_name = "DIR", required_unless_present = "gguf", value_parser = path())]
    pub(crate) output: Option<PathBuf>,
    /// Write one file in the format of llama.cpp; it must not exist
    #[arg(long, value_name = "OUT.gguf", conflicts_with_all = ["output", "max_shard_size"], value_parser = path())]
    pub(crate) gguf: Option<PathBuf>,
    /// Merge an adapter into its model; without this it stays an adapter
    #[arg(long)]
    pub(crate) merge: bool,
    /// The model that an adapter belongs to [default: the one that the adapter names]
    #[arg(long, value_name = "DIR|hf:ORG/NAME", value_parser = path())]
    pub(crate) base: Option<PathBuf>,
    /// Download from this repository of the Hugging Face hub: you have read and accept its licence;
    /// may be repeated
    #[arg(long, value_name = "hf:ORG/NAME")]
    pub(crate) accept_licence: Vec<Accepted>,
    /// Element type of the weights [default: that of the model]
    #[arg(long, value_name = "f32|bf16", value_parser = dtype)]
    pub(crate) dtype: Option<Dtype>,
    /// Largest file of weights
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = size)]
    pub(crate) max_shard_size: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file
    #[arg(value_name = "FILE.gguf", value_parser = path())]
    pub(crate) file: PathBuf,
    /// Folder to write; it must not exist
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) output: PathBuf,
    /// Element type of the weights [default: the type that keeps every value]
    #[arg(long, value_name = "f32|bf16", value_parser = dtype)]
    pub(crate) dtype: Option<Dtype>,
    /// Largest file of weights
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = size)]
    pub(crate) max_shard_size: usize,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Only this device
    #[arg(long, value_name = "DEVICE", value_parser = machine::parse)]
    pub(crate) device: Option<DeviceName>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `uner probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Hugging Face model folder, a PEFT adapter, a checkpoint, or a run's folder (its best
    /// checkpoint, else its latest)
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub model: PathBuf,
    /// A PEFT adapter; gradients are then those of its parameters, under the names of its file
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub adapter: Option<PathBuf>,
    /// JSON with `input_ids` and, optionally, `attention_mask`, `labels`, `position_ids`,
    /// `segment_ids`
    #[arg(long, value_name = "CASE.json", value_parser = path())]
    pub input: PathBuf,
    /// Where `logits`, `token_loss` and `grad.<parameter>` are written
    #[arg(long, value_name = "OUT.safetensors", value_parser = path())]
    pub output: PathBuf,
    /// Also compute the gradient of the mean loss
    #[arg(long)]
    pub grads: bool,
    /// Also continue each row greedily by this many tokens
    #[arg(long, value_name = "N")]
    pub generate: Option<usize>,
    /// Where to compute.
    #[arg(long, value_name = "DEVICE", default_value = "flex", value_parser = machine::parse, help = DEVICE_HELP)]
    pub device: DeviceName,
}
