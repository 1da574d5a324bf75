//! The keys of those who may ask.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Shortest key: one that cannot be guessed is longer.
const SHORTEST: usize = 16;

/// Keys, as digests: their length does not show in the time of a comparison.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<[u8; 32]>);

/// Keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file or variable has no key.
    #[error("{0} has no API key: write one on each line (`openssl rand -hex 32` makes one)")]
    Empty(String),
    /// A key can be guessed, or cannot be sent in a header.
    #[error("{place}, key {number}: a key has at least {SHORTEST} visible ASCII characters")]
    Unusable {
        /// The file or variable.
        place: String,
        /// Which one, from 1. The key itself is secret.
        number: usize,
    },
}

impl ApiKeys {
    /// Reads a file with a key on each line. Empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// When the file cannot be read, has no key, or a key is unusable.
    pub fn from_file(path: &Path) -> Result<Self, KeysError> {
        let text = fs_err::read_to_string(path)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        Self::of(lines, &PathBuf::from(path).display().to_string())
    }

    /// Reads keys separated by commas, as an environment variable has them.
    ///
    /// # Errors
    /// When there is no key, or a key is unusable.
    pub fn from_list(list: &str, place: &str) -> Result<Self, KeysError> {
        Self::of(list.split(',').map(str::trim), place)
    }

    fn of<'k>(keys: impl Iterator<Item = &'k str>, place: &str) -> Result<Self, KeysError> {
        let place = format!("`{place}`");
        let mut digests = Vec::new();
        for (index, key) in keys.filter(|key| !key.is_empty()).enumerate() {
            if key.len() < SHORTEST || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(KeysError::Unusable { place, number: index + 1 });
            }
            digests.push(Sha256::digest(key).into());
        }
        if digests.is_empty() { Err(KeysError::Empty(place)) } else { Ok(Self(digests)) }
    }

    /// Whether everybody may ask.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key is one of these. Compares with each of them, in constant time.
    pub fn has(&self, key: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let equal = |known: &[u8; 32]| known.ct_eq(&digest);
        self.0.iter().fold(Choice::from(0), |any, known| any | equal(known)).into()
    }
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ApiKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_compared() {
        let (first, second) = ("0123456789abcdef", "fedcba9876543210");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), format!("# ours\n{first}\n\n  {second}\n")).unwrap();
        let keys = ApiKeys::from_file(file.path()).unwrap();
        assert!(keys.has(first.as_bytes()) && keys.has(second.as_bytes()));
        assert!(!keys.has(b"") && !keys.has(b"# ours") && !keys.has(b"0123456789abcdeg"));
        assert!(!format!("{keys:?}").contains("0123"));
    }

    #[test]
    fn weak_keys_are_refused_without_being_shown() {
        let problem =
            |list: &str| ApiKeys::from_list(list, "UNER_API_KEYS").unwrap_err().to_string();
        assert!(problem(" , ").contains("no API key"));
        let short = problem("0123456789abcdef,hunter2");
        assert!(short.contains("`UNER_API_KEYS`, key 2") && !short.contains("hunter2"), "{short}");
        assert!(problem("0123456789 abcdef").contains("visible"));
    }
}
