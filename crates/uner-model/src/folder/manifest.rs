//! Size and checksum of every file of a checkpoint.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::WeightsError;
use crate::weights::open_regular;
use serde::{Deserialize, Serialize};

const MANIFEST: &str = "manifest.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    crc32: u32,
}

/// Writes the manifest of all files in `folder` and syncs every one of them, the manifest last.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write_manifest(folder: &Path) -> Result<(), WeightsError> {
    let mut manifest = BTreeMap::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        fs_err::File::open(&path)?.sync_all()?;
        manifest.insert(name(&path), measure(&path)?);
    }
    let path = folder.join(MANIFEST);
    fs_err::write(&path, serde_json::to_string_pretty(&manifest).map_err(std::io::Error::from)?)?;
    fs_err::File::open(&path)?.sync_all()?;
    fs_err::File::open(folder)?.sync_all()?;
    Ok(())
}

/// Compares the manifest with the files whose names satisfy `concern`.
pub(super) fn verify(folder: &Path, concern: impl Fn(&str) -> bool) -> Result<(), WeightsError> {
    let refuse = |problem: String| Err(WeightsError::Damaged { path: folder.to_owned(), problem });
    let path = folder.join(MANIFEST);
    if !path.exists() {
        return refuse(
            "it has no `manifest.json`, so it was never finished; use an earlier one".to_owned(),
        );
    }
    let manifest: BTreeMap<String, Entry> =
        match serde_json::from_reader(BufReader::new(open_regular(&path)?)) {
            Ok(manifest) => manifest,
            Err(error) => {
                return refuse(format!("`manifest.json` is damaged ({error}); use an earlier one"));
            }
        };
    if let Some(file) =
        ["state.json", "optimizer.safetensors"].iter().find(|file| !manifest.contains_key(**file))
    {
        return refuse(format!("`manifest.json` lacks `{file}`; use an earlier one"));
    }
    for (file, expected) in manifest.into_iter().filter(|(file, _)| concern(file)) {
        let path = folder.join(&file);
        if !path.exists() {
            return refuse(format!("`{file}` is missing; use an earlier one"));
        }
        let found = measure(&path)?;
        if found != expected {
            return refuse(format!(
                "`{file}` is damaged: it has {} bytes with CRC-32 {:08x}, but was written with {} and {:08x}; use an earlier one",
                found.bytes, found.crc32, expected.bytes, expected.crc32
            ));
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn measure(path: &Path) -> Result<Entry, WeightsError> {
    let mut file = open_regular(path)?;
    let mut checksum = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Entry { bytes, crc32: checksum.finalize() });
        }
        checksum.update(&buffer[..read]);
        bytes += read as u64;
    }
}
