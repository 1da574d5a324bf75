//! Reads a repository's files, sizes and licence from the hub before anything is downloaded.

use anyhow::{Context as _, Result, anyhow};
use hf_hub::api::sync::{Api, ApiBuilder};
use serde::Deserialize;

use super::download::wanted;
use super::{BRANCH, HubRepo, Kind};
use crate::human::bytes;

/// The fields of the hub's answer that are read.
#[derive(Debug, Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
    #[serde(default)]
    #[serde(rename = "cardData")]
    card: Option<Card>,
    #[serde(default)]
    tags: Vec<String>,
}

/// The head of the model card or dataset card.
#[derive(Debug, Deserialize)]
struct Card {
    license: Option<serde_json::Value>,
    license_name: Option<String>,
}

/// A file of the repository.
#[derive(Debug, Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: String,
}

/// A file, with the size and checksum that its download must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) checksum: Checksum,
}

/// The checksum that the hub states for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checksum {
    /// Of a large file (Git LFS).
    Sha256(String),
    /// Of a small file: its git blob id (SHA-1).
    Git(String),
}

/// The files that would be downloaded, and their licence.
#[derive(Debug)]
pub(super) struct Offer {
    /// The commit that the branch points to; all files come from it.
    pub(super) commit: String,
    pub(super) files: Vec<Offered>,
    licence: Option<String>,
}

impl Offer {
    pub(super) fn fetch(source: &HubRepo) -> Result<Self> {
        let api = api()?;
        let request = api.repo(source.repo(BRANCH)).info_request().query("blobs", "true");
        let mut response = request.call().map_err(|error| explain(source, error))?;
        let answer: Answer = response
            .body_mut()
            .read_json()
            .with_context(|| format!("cannot read the hub's answer for {source}"))?;
        Self::new(source, answer)
    }

    fn new(source: &HubRepo, answer: Answer) -> Result<Self> {
        let licence = answer.licence();
        let names: Vec<String> =
            answer.siblings.iter().map(|sibling| sibling.name.clone()).collect();
        let wanted = match &source.kind {
            Kind::Model => wanted(&names).map_err(|problem| anyhow!("{source}: {problem}"))?,
            Kind::Dataset(files) => files.clone(),
        };
        let files = wanted.into_iter().map(|name| {
            let sibling = answer.siblings.iter().find(|sibling| sibling.name == name);
            let sibling = sibling.with_context(|| format!("{source} has no file `{name}`"))?;
            sibling.offered().with_context(|| {
                format!("{source}: the hub states no size or checksum for `{name}`")
            })
        });
        Ok(Self { files: files.collect::<Result<_>>()?, commit: answer.sha, licence })
    }

    fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The message for a user who has not accepted the licence.
    pub(super) fn terms(&self, source: &HubRepo) -> String {
        let licence = self.licence.as_deref().unwrap_or("not stated on its card");
        format!(
            "{} on the Hugging Face hub, {} files, {}; licence: {licence}. Read it there, and accept it with `--accept-licence \
             {source}`: the files are then downloaded",
            source.page(),
            self.files.len(),
            bytes(self.size())
        )
    }
}

impl Answer {
    fn licence(&self) -> Option<String> {
        let card = self.card.as_ref();
        let written = card.and_then(|card| match card.license.as_ref()? {
            serde_json::Value::String(name) if name == "other" => card.license_name.clone(),
            serde_json::Value::String(name) => Some(name.clone()),
            several => Some(several.to_string()),
        });
        written.or_else(|| {
            self.tags.iter().find_map(|tag| tag.strip_prefix("license:").map(str::to_owned))
        })
    }
}

impl Sibling {
    fn offered(&self) -> Option<Offered> {
        let checksum = match (&self.lfs, &self.blob) {
            (Some(lfs), _) => Checksum::Sha256(lfs.sha256.clone()),
            (None, Some(blob)) => Checksum::Git(blob.clone()),
            (None, None) => return None,
        };
        Some(Offered { name: self.name.clone(), size: self.size?, checksum })
    }
}

/// The hub's client, set up by `HF_ENDPOINT`, `HF_HOME` (and the token in it), and `HF_TOKEN`.
pub(super) fn api() -> Result<Api> {
    let builder =
        ApiBuilder::from_env().with_progress(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let builder = match std::env::var("HF_TOKEN") {
        Ok(token) if !token.trim().is_empty() => builder.with_token(Some(token.trim().to_owned())),
        _ => builder,
    };
    builder.build().context("cannot set up the client of the Hugging Face hub")
}

/// Explains why a request failed.
pub(super) fn explain(source: &HubRepo, error: ureq::Error) -> anyhow::Error {
    let page = source.page();
    match error {
        ureq::Error::StatusCode(status @ (401 | 403)) => anyhow!(
            "the hub refuses access to {source} (HTTP {status}): log in at {page}, request access there if it is gated, \
             and set `HF_TOKEN` to your access token"
        ),
        ureq::Error::StatusCode(404) => {
            anyhow!("{source} or one of its files is not on the hub (HTTP 404); see {page}")
        }
        error => {
            anyhow::Error::new(error).context(format!("the request to the hub for {source} failed"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{
        "sha": "abc", "tags": ["license:mit"], "cardData": {"license": "other", "license_name": "llama2"},
        "siblings": [
            {"rfilename": "README.md", "size": 5, "blobId": "1"},
            {"rfilename": "config.json", "size": 7, "blobId": "2"},
            {"rfilename": "tokenizer.model", "size": 11, "blobId": "3", "lfs": {"sha256": "ff"}},
            {"rfilename": "model.safetensors", "size": 13, "blobId": "4", "lfs": {"sha256": "ee"}},
            {"rfilename": "onnx/model.safetensors", "size": 17, "blobId": "5", "lfs": {"sha256": "dd"}}
        ]
    }"#;

    #[test]
    fn only_what_is_needed_is_offered() {
        let source = HubRepo::model("hf:org/name").unwrap().unwrap();
        let offer = Offer::new(&source, serde_json::from_str(ANSWER).unwrap()).unwrap();
        let names: Vec<&str> = offer.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["config.json", "tokenizer.model", "model.safetensors"]);
        assert_eq!((offer.size(), offer.licence.as_deref()), (31, Some("llama2")));
        let terms = offer.terms(&source);
        assert!(
            terms.contains("licence: llama2") && terms.contains("`--accept-licence hf:org/name`"),
            "{terms}"
        );
        let bare = ANSWER.replace("cardData", "other");
        let offer = Offer::new(&source, serde_json::from_str(&bare).unwrap()).unwrap();
        assert_eq!(offer.licence.as_deref(), Some("mit"));
        let pickled = ANSWER.replace("model.safetensors", "pytorch_model.bin");
        let error =
            Offer::new(&source, serde_json::from_str(&pickled).unwrap()).unwrap_err().to_string();
        assert!(error.contains("no safetensors"), "{error}");
    }
}
