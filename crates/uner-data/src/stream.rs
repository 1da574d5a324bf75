//! Random streams keyed by their purpose, so that a draw does not depend on the draws before it.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The stream of (purpose, seed, epoch, index). Equal keys give equal streams on every platform.
pub fn stream(purpose: [u8; 8], seed: u64, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&purpose);
    key[8..16].copy_from_slice(&seed.to_le_bytes());
    key[16..24].copy_from_slice(&epoch.to_le_bytes());
    key[24..].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}
