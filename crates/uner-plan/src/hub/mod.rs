//! Models and datasets from the Hugging Face hub: `hf:org/name`.
//!
//! What is in the hub's cache (`HF_HOME`) is used as it is, online or not. What is not there is
//! downloaded only after its licence was accepted on the command line; without that the program
//! says what the licence is, how large the files are, and what to type.

mod download;
mod offer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hf_hub::{Cache, Repo, RepoType};

use offer::Offer;

/// What the name of a source begins with.
const PREFIX: &str = "hf:";
/// The branch that is taken.
const BRANCH: &str = "main";
/// How long the hub is waited for where the answer only makes a message better.
const PATIENCE: Duration = Duration::from_secs(10);

/// A repository of the hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    kind: Kind,
    /// `org/name`.
    id: String,
}

/// What a repository holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A model folder.
    Model,
    /// The files of these names.
    Dataset(Vec<String>),
}

/// A name with `hf:` before it that is no name of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no repository of the hub; write it as `hf:org/name`, such as `hf:meta-llama/Llama-2-7b-hf`"
)]
pub struct NotASource(String);

/// The licence of a repository, accepted by whoever typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted(String);

impl FromStr for Accepted {
    type Err = NotASource;

    fn from_str(text: &str) -> Result<Self, NotASource> {
        Source::model(text)?
            .map(|source| Self(source.id))
            .ok_or_else(|| NotASource(text.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}{}", self.id)
    }
}

impl Source {
    /// The model that `model.weights` names, where that begins with `hf:`.
    ///
    /// # Errors
    /// When what follows is not `org/name`.
    pub fn model(weights: &str) -> Result<Option<Self>, NotASource> {
        let Some(id) = weights.strip_prefix(PREFIX) else { return Ok(None) };
        let is_name = |name: &str| {
            let plain =
                |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
            !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
        };
        match id.split_once('/') {
            Some((organisation, name)) if is_name(organisation) && is_name(name) => {
                Ok(Some(Self { kind: Kind::Model, id: id.to_owned() }))
            }
            _ => Err(NotASource(weights.to_owned())),
        }
    }

    /// The repository that has some files of a dataset.
    pub(crate) fn dataset(id: &str, files: Vec<String>) -> Self {
        Self { kind: Kind::Dataset(files), id: id.to_owned() }
    }

    /// The folder of a model in the cache, where all its files are there.
    pub fn cached(&self) -> Option<PathBuf> {
        let cache = Cache::from_env().repo(self.repo(BRANCH));
        let folder = cache.get("config.json")?.parent()?.to_owned();
        download::is_complete(&folder).then_some(folder)
    }

    fn repo(&self, revision: &str) -> Repo {
        let kind = match self.kind {
            Kind::Model => RepoType::Model,
            Kind::Dataset(_) => RepoType::Dataset,
        };
        Repo::with_revision(self.id.clone(), kind, revision.to_owned())
    }

    /// Whether its licence is among those.
    pub(crate) fn is_accepted(&self, accepted: &[Accepted]) -> bool {
        accepted.iter().any(|accepted| accepted.0 == self.id)
    }

    /// Downloads it.
    ///
    /// # Errors
    /// When the hub or the disk says no, or what came is not what the hub announced.
    pub(crate) fn download(&self) -> Result<()> {
        download::all(self, &Offer::ask(self)?)
    }

    /// What is said to whoever has not accepted its licence.
    pub(crate) fn terms(&self) -> String {
        self.ask_in_time().map_or_else(
            |error| {
                format!(
                    "{}; its licence and size could not be asked for ({error:#}). Read the licence there, and accept it by \
                     `--accept-licence {self}`: the files are then downloaded",
                    self.page()
                )
            },
            |offer| offer.terms(self),
        )
    }

    /// Asks what there is to say, but not for ever: a network that swallows everything must not
    /// hold up a dry run.
    fn ask_in_time(&self) -> Result<Offer> {
        let (send, receive) = mpsc::channel();
        let source = self.clone();
        // Nobody may be left to hear the answer.
        std::thread::spawn(move || send.send(Offer::ask(&source)).ok());
        receive
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs()))
    }

    /// Its page for people.
    fn page(&self) -> String {
        let folder = if self.kind == Kind::Model { "" } else { "datasets/" };
        format!("https://huggingface.co/{folder}{}", self.id)
    }
}

/// Whether a command names a repository where it may also name a folder.
pub fn is_named(model: &Path) -> bool {
    model.to_str().is_some_and(|model| model.starts_with(PREFIX))
}

/// The folder of the model that a command names: in the cache, where that is `hf:org/name`, and
/// downloaded if that is accepted.
///
/// # Errors
/// When it is not there and not accepted, or cannot be downloaded.
pub fn folder(model: &Path, accepted: &[Accepted]) -> Result<PathBuf> {
    let named = model.to_str().map(Source::model).transpose()?.flatten();
    let Some(source) = named else { return Ok(model.to_owned()) };
    if let Some(folder) = source.cached() {
        return Ok(folder);
    }
    if !source.is_accepted(accepted) {
        bail!("{source} is not here: {}", source.terms());
    }
    source.download()?;
    source
        .cached()
        .with_context(|| format!("{source} was downloaded and is not whole in the cache"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories() {
        let source = Source::model("hf:meta-llama/Llama-2-7b-hf").unwrap().unwrap();
        assert_eq!(source.to_string(), "hf:meta-llama/Llama-2-7b-hf");
        assert_eq!(Source::model("models/llama").unwrap(), None);
        for wrong in ["hf:", "hf:gpt2", "hf:a/", "hf:../x", "hf:a/../../etc", "hf:a/b c"] {
            assert!(Source::model(wrong).is_err(), "{wrong}");
            assert!(wrong.parse::<Accepted>().is_err(), "{wrong}");
        }
        assert!("meta-llama/Llama-2-7b-hf".parse::<Accepted>().is_err());
    }
}
