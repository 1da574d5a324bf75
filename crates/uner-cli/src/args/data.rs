//! The arguments of `uner data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use uner_data::export::ExportFormat;

use crate::values::path;

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Entity types from head to tail, lengths, duplicates
    Stats(SplitArgs),
    /// List every problem of a split with file and line
    Validate(SplitArgs),
    /// Passages, n-grams and entities of benchmarks that training data has, too
    Overlap(OverlapArgs),
    /// Convert annotated data to another format, and list what that cannot hold
    Convert(ConvertArgs),
    /// The same mention with different types, within datasets and between them
    Conflicts(ConflictsArgs),
    /// Encode conversations to token ids and labels
    Encode(EncodeArgs),
    /// Say which datasets exist, which are missing, and how to get them
    Status(StatusArgs),
    /// Download the files of datasets that anyone can get, from their publishers
    Download(DownloadArgs),
    /// Rebuild the zero-shot evaluation files of UniversalNER from the publishers' files
    Official(OfficialArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Datasets [default: all that are built in]
    pub(crate) datasets: Vec<String>,
    /// The datasets of a list, such as `zero-shot-7` or `universal-43`
    #[arg(long, value_name = "LIST", conflicts_with = "datasets")]
    pub(crate) list: Option<String>,
    /// Folder of the datasets' files
    #[arg(long, value_name = "DIR", default_value = "data", value_parser = path())]
    pub(crate) root: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// Datasets
    #[arg(value_name = "DATASET", required_unless_present = "list")]
    pub(crate) datasets: Vec<String>,
    /// The datasets of a list, such as `zero-shot-7` or `universal-43`
    #[arg(long, value_name = "LIST", conflicts_with = "datasets")]
    pub(crate) list: Option<String>,
    /// You have read and accept the licences of these datasets, which the command prints without
    /// this option
    #[arg(long)]
    pub(crate) accept_licence: bool,
    /// Folder to write the datasets' files to
    #[arg(long, value_name = "DIR", default_value = "data", value_parser = path())]
    pub(crate) root: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct OfficialArgs {
    /// Folder to write the JSON files to
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) output: PathBuf,
    /// Folder of the datasets' files
    #[arg(long, value_name = "DIR", default_value = "data", value_parser = path())]
    pub(crate) root: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// A built-in dataset, or the path of a description
    pub(crate) dataset: String,
    /// Its split
    #[arg(long, default_value = "train")]
    pub(crate) split: String,
    /// Folder that the dataset's files are relative to [default: that of the description, `data`
    /// for a built-in dataset]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) root: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OverlapArgs {
    /// Training data, as `dataset` or `dataset:split` (default split: train)
    #[arg(value_name = "TRAIN[:SPLIT]", required = true)]
    pub(crate) training: Vec<String>,
    /// Benchmarks, as `dataset` or `dataset:split` (default split: test)
    #[arg(long, value_name = "BENCHMARK[:SPLIT]", required = true, num_args = 1..)]
    pub(crate) against: Vec<String>,
    /// Folder that the datasets' files are relative to [default: that of a description, `data` for
    /// a built-in dataset]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) root: Option<PathBuf>,
    /// Show at most N passages of each benchmark
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) examples: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A built-in dataset, the path of a description, or with `--from-format` a file
    pub(crate) from: String,
    /// The folder to write to; it must not exist, or be empty
    #[arg(value_parser = path())]
    pub(crate) to: PathBuf,
    /// The format of the output: conll, spacy, label-studio, prodigy, doccano, brat, gliner, …
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: ExportFormat,
    /// The format of a file that has no description
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["split", "root"])]
    pub(crate) from_format: Option<String>,
    /// Convert this split only; may be repeated [default: all]
    #[arg(long, value_name = "SPLIT")]
    pub(crate) split: Vec<String>,
    /// Folder that the dataset's files are relative to [default: that of the description, `data`
    /// for a built-in dataset]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConflictsArgs {
    /// Datasets, as `dataset` or `dataset:split` (default split: train)
    #[arg(value_name = "DATASET[:SPLIT]", required = true)]
    pub(crate) datasets: Vec<String>,
    /// Folder that the datasets' files are relative to [default: that of a description, `data` for
    /// a built-in dataset]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) root: Option<PathBuf>,
    /// A mention has a type in a split if it has it at least N times there
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) min_count: u32,
    /// List at most N mentions, and N pairs of types
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) listed: usize,
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
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) tokenizer: PathBuf,
    /// JSON Lines of `{"conversations": [{"from", "value"}, …]}`
    #[arg(long, value_name = "CONVERSATIONS.jsonl", value_parser = path())]
    pub(crate) input: PathBuf,
    /// JSON Lines of `{"ids": […], "labels": […]}`, in the same order
    #[arg(long, value_name = "OUT.jsonl", value_parser = path())]
    pub(crate) output: PathBuf,
    /// Drop queries from the end of a conversation that has more tokens [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) max_seq_len: Option<usize>,
    /// Exactly as the released code of UniversalNER: the template `official`, cut at N tokens
    /// (default 1024) anywhere
    #[arg(long)]
    pub(crate) official: bool,
    /// The prompt for the last human turn, instead of a training conversation
    #[arg(long)]
    pub(crate) inference: bool,
}
