//! The options of `uner serve`, and of the files that packages have.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::ModelArgs;
use crate::values::{NamedFolder, named_folder, path, size};

/// Answer requests over HTTP: entities, chats, and a page to try a model
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A checkpoint, a run's folder (its best checkpoint if it has one, else its latest), any
    /// Hugging Face folder, a PEFT adapter, or a repository of the Hugging Face hub
    #[arg(long, value_name = "DIR|hf:ORG/NAME", value_parser = path())]
    pub(crate) model: PathBuf,
    /// The name that requests choose the model by [default: that of its folder]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Another model or adapter, which requests choose by NAME; may be repeated
    #[arg(long, value_name = "NAME=DIR", value_parser = named_folder)]
    pub(crate) adapter: Vec<NamedFolder>,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
    /// Address and port; `0.0.0.0` accepts requests from other machines
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// A file with an API key per line, one of which every request must have [default: those of
    /// `UNER_API_KEYS`, separated by commas; without any, everybody may ask]
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) api_keys: Option<PathBuf>,
    /// An origin whose pages may read answers in a browser (CORS), or `*`; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// Texts and chats that each model has accepted and not answered; others get status 429
    #[arg(long, value_name = "N", default_value = "256")]
    pub(crate) queue: NonZeroU32,
    /// Longest body of a request
    #[arg(long, value_name = "SIZE", default_value = "2MB", value_parser = size)]
    pub(crate) max_body: usize,
    /// Most entity types of a request
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) max_types: NonZeroUsize,
    /// Seconds until a request that is not answered gets status 504
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub(crate) timeout: NonZeroU32,
    /// Write texts to the log, too
    #[arg(long)]
    pub(crate) log_texts: bool,
}

/// Print the script that completes this program's commands in a shell
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// Write the manual pages
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for a page per command; it is made if it does not exist
    #[arg(value_name = "DIR", value_parser = path())]
    pub(crate) folder: PathBuf,
}
