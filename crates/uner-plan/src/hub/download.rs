//! Downloads the files of a repository into the hub's cache, and verifies them.
//!
//! All files come from one commit. The branch is set to that commit last, so that an interrupted
//! download is not taken for a model. A partial file is continued; a file that fails its check is
//! removed and downloaded once more.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use hf_hub::Cache;
use hf_hub::api::sync::{ApiError, ApiRepo};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::offer::{Checksum, Offer, Offered, api, explain};
use super::{BRANCH, HubRepo};

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TOKENIZERS: [&str; 2] = ["tokenizer.json", "tokenizer.model"];
const OPTIONAL: [&str; 1] = ["tokenizer_config.json"];
/// Ending of weight files.
const WEIGHTS: &str = ".safetensors";
/// Bytes read at a time for a checksum.
const BUFFER: usize = 1 << 20;

/// Selects the files that a model needs from all files of a repository.
pub(super) fn wanted(names: &[String]) -> Result<Vec<String>, String> {
    let has = |name: &str| names.iter().any(|other| other == name);
    if !has(CONFIG) {
        return Err(format!("it has no `{CONFIG}`, so it is not a model"));
    }
    // A name with a folder belongs to another format of the same model.
    let weights = |name: &&String| name.ends_with(WEIGHTS) && !name.contains('/');
    let shards: Vec<String> = if has(INDEX) {
        let shards = names.iter().filter(weights).filter(|name| *name != SINGLE).cloned();
        shards.chain([INDEX.to_owned()]).collect()
    } else {
        names.iter().filter(|name| *name == SINGLE).cloned().collect()
    };
    if shards.is_empty() {
        return Err(
            "it has no safetensors files; convert its weights, and set `model.weights` to the folder"
                .to_owned(),
        );
    }
    let tokenizer = TOKENIZERS.into_iter().find(|name| has(name));
    let tokenizer = tokenizer.ok_or_else(|| {
        format!("it has neither {}", TOKENIZERS.map(|name| format!("`{name}`")).join(" nor "))
    })?;
    let optional = OPTIONAL.into_iter().filter(|name| has(name));
    let small = [CONFIG, tokenizer].into_iter().chain(optional).map(str::to_owned);
    Ok(small.chain(shards).collect())
}

/// Whether a folder has every file that a model needs.
pub(super) fn is_complete(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).exists();
    let weights = match fs_err::read(folder.join(INDEX)) {
        Ok(text) => shards(&text).is_some_and(|shards| shards.iter().all(|shard| has(shard))),
        Err(_) => has(SINGLE),
    };
    weights && has(CONFIG) && TOKENIZERS.into_iter().any(has)
}

/// The shards that an index names.
fn shards(index: &[u8]) -> Option<BTreeSet<String>> {
    let index: serde_json::Value = serde_json::from_slice(index).ok()?;
    index
        .get("weight_map")?
        .as_object()?
        .values()
        .map(|shard| Some(shard.as_str()?.to_owned()))
        .collect()
}

/// Downloads every file of an offer that the cache lacks, or that fails its check.
pub(super) fn all(source: &HubRepo, offer: &Offer) -> Result<()> {
    let repo = api()?.repo(source.repo(&offer.commit));
    let cache = Cache::from_env();
    for file in &offer.files {
        let there = cache.repo(source.repo(&offer.commit)).get(&file.name);
        if there.is_some_and(|path| check(&path, file).is_ok()) {
            continue;
        }
        tracing::info!("downloading `{}` of {source}", file.name);
        one(source, &repo, &cache, file).with_context(|| format!("`{}` of {source}", file.name))?;
    }
    // Last, because a branch in the cache means that the download is complete.
    cache.repo(source.repo(BRANCH)).create_ref(&offer.commit)?;
    Ok(())
}

/// Downloads a file. Starts again once if the partial file cannot be continued, or if the file
/// fails its check.
fn one(source: &HubRepo, repo: &ApiRepo, cache: &Cache, file: &Offered) -> Result<()> {
    let first = fetch(repo, file);
    let error = match first {
        Ok(()) => return Ok(()),
        Err(Failure::Refused(error)) => return Err(refused(source, error)),
        Err(Failure::Damaged(error)) => error,
    };
    tracing::warn!("`{}`: {error:#}; downloading it again from its start", file.name);
    forget(source, cache, file)?;
    match fetch(repo, file) {
        Ok(()) => Ok(()),
        Err(Failure::Refused(error)) => Err(refused(source, error)),
        Err(Failure::Damaged(error)) => {
            forget(source, cache, file)?;
            Err(error.context("two downloads differ from what the hub announced; neither was kept"))
        }
    }
}

/// Why a download failed.
enum Failure {
    /// The hub or the network failed; the partial file stays, so that it can be continued.
    Refused(ApiError),
    /// The partial or complete file is unusable.
    Damaged(anyhow::Error),
}

fn fetch(repo: &ApiRepo, file: &Offered) -> Result<(), Failure> {
    match repo.download(&file.name) {
        Ok(path) => check(&path, file).map_err(Failure::Damaged),
        // The partial file already has all its bytes, or more: nothing is left to request.
        Err(ApiError::InvalidResume) => {
            Err(Failure::Damaged(anyhow!("the partial file is too long")))
        }
        Err(ApiError::RequestError(error)) if matches!(*error, ureq::Error::StatusCode(416)) => {
            Err(Failure::Damaged(anyhow!("the partial file cannot be continued")))
        }
        Err(error) => Err(Failure::Refused(error)),
    }
}

fn refused(source: &HubRepo, error: ApiError) -> anyhow::Error {
    match error {
        ApiError::RequestError(error) => explain(source, *error),
        error => anyhow::Error::new(error)
            .context("the download was cut off; run the same command again to continue it"),
    }
}

/// Compares a file with what the hub announced.
fn check(path: &Path, file: &Offered) -> Result<()> {
    let size = fs_err::metadata(path)?.len();
    if size != file.size {
        bail!("it has {size} bytes, the hub announced {}", file.size);
    }
    let (found, announced) = match &file.checksum {
        Checksum::Sha256(announced) => (digest(path, Sha256::new())?, announced),
        Checksum::Git(announced) => {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {size}\0"));
            (digest(path, hasher)?, announced)
        }
    };
    if found != *announced {
        bail!("its checksum is {found}, the hub announced {announced}");
    }
    Ok(())
}

fn digest(path: &Path, mut hasher: impl Digest) -> Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            let bytes = hasher.finalize();
            return Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat());
        }
        hasher.update(&buffer[..read]);
    }
}

/// Removes a file from the cache: its partial and its complete blob, and all links to them.
fn forget(source: &HubRepo, cache: &Cache, file: &Offered) -> Result<()> {
    let repo = cache.repo(source.repo(BRANCH));
    let (Checksum::Sha256(name) | Checksum::Git(name)) = &file.checksum;
    let blob = repo.blob_path(name);
    let folders = blob.parent().and_then(Path::parent).map(|folder| folder.join("snapshots"));
    let snapshots =
        folders.into_iter().filter_map(|folder| fs_err::read_dir(folder).ok()).flatten().flatten();
    let links = snapshots.map(|snapshot| snapshot.path().join(&file.name));
    for path in links.chain([blob.with_extension("part"), blob]) {
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
