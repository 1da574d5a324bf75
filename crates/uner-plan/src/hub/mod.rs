//! Models and datasets from the Hugging Face hub: `hf:org/name`.
//!
//! A repository in the hub's cache (`HF_HOME`) is used as it is, online or offline. Any other is
//! downloaded only if the command line accepts its licence; otherwise the program prints the
//! licence, the size of the files, and the option that accepts it.

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

/// Prefix of a source's name.
const PREFIX: &str = "hf:";
/// The branch that is downloaded.
const BRANCH: &str = "main";
/// How long to wait for the hub if its answer only improves a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// A repository of the hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubRepo {
    kind: Kind,
    /// `org/name`.
    id: String,
}

/// The content of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A model folder.
    Model,
    /// Files of a dataset, by name.
    Dataset(Vec<String>),
}

/// A text that is not the name of a repository, `hf:org/name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a repository of the hub; write it as `hf:org/name`, such as `hf:meta-llama/Llama-2-7b-hf`"
)]
pub struct NotARepo(String);

/// A repository whose licence the user has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted(String);

impl FromStr for Accepted {
    type Err = NotARepo;

    fn from_str(text: &str) -> Result<Self, NotARepo> {
        HubRepo::model(text)?.map(|source| Self(source.id)).ok_or_else(|| NotARepo(text.to_owned()))
    }
}

impl fmt::Display for HubRepo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}{}", self.id)
    }
}

impl HubRepo {
    /// The model that `model.weights` names; `None` unless the name begins with `hf:`.
    ///
    /// # Errors
    /// When the rest of the name is not `org/name`.
    pub fn model(weights: &str) -> Result<Option<Self>, NotARepo> {
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
            _ => Err(NotARepo(weights.to_owned())),
        }
    }

    /// The repository that contains these files of a dataset.
    pub(crate) fn dataset(id: &str, files: Vec<String>) -> Self {
        Self { kind: Kind::Dataset(files), id: id.to_owned() }
    }

    /// The folder of a model in the cache; `None` unless it has all its files.
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

    /// Whether the user has accepted its licence.
    pub(crate) fn is_accepted(&self, accepted: &[Accepted]) -> bool {
        accepted.iter().any(|accepted| accepted.0 == self.id)
    }

    /// Downloads the repository's files.
    ///
    /// # Errors
    /// When the hub or the disk fails, or when a file differs from what the hub announced.
    pub(crate) fn download(&self) -> Result<()> {
        download::all(self, &Offer::fetch(self)?)
    }

    /// The message for a user who has not accepted its licence.
    pub(crate) fn terms(&self) -> String {
        self.fetch_offer_in_time().map_or_else(
            |error| {
                format!(
                    "{}; its licence and size could not be read ({error:#}). Read the licence there, and accept it with \
                     `--accept-licence {self}`: the files are then downloaded",
                    self.page()
                )
            },
            |offer| offer.terms(self),
        )
    }

    /// Requests the offer with a time limit: a network that drops every packet must not hold up a
    /// dry run.
    fn fetch_offer_in_time(&self) -> Result<Offer> {
        let (send, receive) = mpsc::channel();
        let source = self.clone();
        // The receiver may be gone when the answer comes.
        std::thread::spawn(move || send.send(Offer::fetch(&source)).ok());
        receive
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs()))
    }

    /// Its web page.
    fn page(&self) -> String {
        let folder = if self.kind == Kind::Model { "" } else { "datasets/" };
        format!("https://huggingface.co/{folder}{}", self.id)
    }
}

/// Whether a command's model is a repository (`hf:…`), not a folder.
pub fn is_named(model: &Path) -> bool {
    model.to_str().is_some_and(|model| model.starts_with(PREFIX))
}

/// Returns the folder of the model that a command names. For `hf:org/name`, this is the folder in
/// the cache; a model that the cache lacks is downloaded if its licence is accepted.
///
/// # Errors
/// When the cache lacks the model and its licence is not accepted, or when the download fails.
pub fn folder(model: &Path, accepted: &[Accepted]) -> Result<PathBuf> {
    let named = model.to_str().map(HubRepo::model).transpose()?.flatten();
    let Some(source) = named else { return Ok(model.to_owned()) };
    if let Some(folder) = source.cached() {
        return Ok(folder);
    }
    if !source.is_accepted(accepted) {
        bail!("{source} is not in the cache: {}", source.terms());
    }
    source.download()?;
    source
        .cached()
        .with_context(|| format!("{source} was downloaded, but the cache lacks some of its files"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories() {
        let source = HubRepo::model("hf:meta-llama/Llama-2-7b-hf").unwrap().unwrap();
        assert_eq!(source.to_string(), "hf:meta-llama/Llama-2-7b-hf");
        assert_eq!(HubRepo::model("models/llama").unwrap(), None);
        for wrong in ["hf:", "hf:gpt2", "hf:a/", "hf:../x", "hf:a/../../etc", "hf:a/b c"] {
            assert!(HubRepo::model(wrong).is_err(), "{wrong}");
            assert!(wrong.parse::<Accepted>().is_err(), "{wrong}");
        }
        assert!("meta-llama/Llama-2-7b-hf".parse::<Accepted>().is_err());
    }
}
