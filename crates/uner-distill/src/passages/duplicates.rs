//! Finds near-duplicates by `MinHash` (Broder 1997) and bands of hashes (Leskovec, Rajaraman and
//! Ullman, Mining of Massive Datasets, section 3.4).
//!
//! The similarity of two passages is the Jaccard similarity of their sets of shingles: runs of 5
//! words in form NFKC and without case and punctuation; a shorter passage is one shingle. A
//! signature has the smallest value of each of 128 hashes over these. The share of equal values
//! estimates the similarity, with a standard deviation of 0.035 at 0.8. Only passages with an equal
//! band (a few consecutive values) are compared, so a pair at the threshold is missed with a
//! probability of less than 1 %, and a more similar pair with a much smaller one.

use hashbrown::HashTable;
use txtfp::{Canonicalizer, Fingerprinter, MinHashFingerprinter, ShingleTokenizer, WordTokenizer};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Words of a shingle, as in Lee et al. 2022 (arXiv 2107.06499).
const SHINGLE: usize = 5;
/// Values of a signature.
const HASHES: usize = 128;
/// Smallest probability that a pair at the threshold has an equal band.
const RECALL: f64 = 0.99;

/// The lowest 16 bits of each value: two that differ look equal with a probability of 2⁻¹⁶ (b-bit
/// minwise hashing: Li and König 2010).
pub(super) type Signature = Box<[u16; HASHES]>;

/// Computes signatures.
pub(super) struct Signer(MinHashFingerprinter<ShingleTokenizer<WordTokenizer>, HASHES>);

impl Signer {
    pub(super) fn new() -> Self {
        let shingles = ShingleTokenizer { k: SHINGLE, inner: WordTokenizer };
        Self(MinHashFingerprinter::new(Canonicalizer::default(), shingles))
    }

    pub(super) fn sign(&self, text: &str) -> Signature {
        Box::new(match self.0.fingerprint(text) {
            Ok(signature) => signature.hashes.map(|hash| hash as u16),
            // A text without letters and digits has no shingles, and is similar to itself only.
            Err(_) => {
                std::array::from_fn(|at| xxh3_64_with_seed(text.as_bytes(), at as u64) as u16)
            }
        })
    }
}

/// The passages that are not duplicates. It needs about 0.5 kB for each: 256 bytes for the
/// signature, and 8 for each of the bands, of which a threshold of 0.8 needs 21. (A table of hashes
/// with lists, as libraries have, needs 2.3 kB, twice a passage.)
pub(super) struct Duplicates {
    /// Smallest number of equal values of a duplicate.
    num_equal: usize,
    /// Number of values of a band.
    rows: usize,
    /// For each band, the numbers of passages by the hash of its values.
    bands: Vec<HashTable<u32>>,
    signatures: Vec<[u16; HASHES]>,
}

impl Duplicates {
    pub(super) fn new(jaccard: f64) -> Self {
        let rows = rows(jaccard);
        Self {
            num_equal: (jaccard * HASHES as f64).ceil() as usize,
            rows,
            bands: vec![HashTable::new(); HASHES / rows],
            signatures: Vec::new(),
        }
    }

    /// Adds a passage, unless it is a duplicate of one that was added.
    pub(super) fn insert(&mut self, signature: &[u16; HASHES]) -> bool {
        let Self { num_equal, rows, bands, signatures } = self;
        let hash = |band: usize, of: &[u16; HASHES]| hash(&of[band * *rows..][..*rows]);
        for (at, band) in bands.iter().enumerate() {
            let mut similar = band.iter_hash(hash(at, signature));
            if similar.any(|&other| equal(&signatures[other as usize], signature) >= *num_equal) {
                return false;
            }
        }
        let number = u32::try_from(signatures.len()).expect("fewer than 2³² passages");
        signatures.push(*signature);
        for (at, band) in bands.iter_mut().enumerate() {
            let rehash = |&other: &u32| hash(at, &signatures[other as usize]);
            band.insert_unique(hash(at, signature), number, rehash);
        }
        true
    }
}

fn equal(a: &[u16; HASHES], b: &[u16; HASHES]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a == b).count()
}

fn hash(values: &[u16]) -> u64 {
    let mut bytes = [0; 2 * HASHES];
    let pairs = bytes.chunks_exact_mut(2).zip(values);
    pairs.for_each(|(pair, value)| pair.copy_from_slice(&value.to_le_bytes()));
    xxh3_64(&bytes[..2 * values.len()])
}

/// The largest number of values in a band with which a pair at the threshold has an equal band with
/// a probability of at least [`RECALL`].
fn rows(jaccard: f64) -> usize {
    let recall = |rows: usize| {
        let num_bands = (HASHES / rows) as i32;
        1.0 - (1.0 - jaccard.powi(rows as i32)).powi(num_bands)
    };
    (1..=HASHES).rev().find(|&rows| recall(rows) >= RECALL).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Whether each text is new.
    fn is_new(jaccard: f64, texts: &[&str]) -> Vec<bool> {
        let (signer, mut duplicates) = (Signer::new(), Duplicates::new(jaccard));
        texts.iter().map(|text| duplicates.insert(&signer.sign(text))).collect()
    }

    /// A text of words that do not repeat.
    fn words(numbers: impl Iterator<Item = usize>) -> Vec<String> {
        numbers.map(|number| format!("word{number}")).collect()
    }

    fn jaccard(a: &[String], b: &[String]) -> f64 {
        let shingles = |words: &[String]| -> BTreeSet<Vec<String>> {
            words.windows(SHINGLE).map(<[String]>::to_vec).collect()
        };
        let (a, b) = (shingles(a), shingles(b));
        a.intersection(&b).count() as f64 / a.union(&b).count() as f64
    }

    #[test]
    fn bands_have_the_longest_rows_that_find_pairs_at_the_threshold() {
        assert_eq!([0.8, 0.9, 0.5, 0.01, 1.0].map(rows), [6, 10, 3, 1, 128]);
    }

    #[test]
    fn exact_duplicates_differ_in_case_punctuation_and_white_space_at_most() {
        let texts = [
            "Ada Lovelace wrote the first program in 1843.",
            "ada lovelace  wrote the first program\nin 1843!",
            "Ada Lovelace wrote the first program in 1842.",
            "Zoë",
            "Zoe",
            "ZOE\u{308}",
            "***",
            "***",
            "---",
            "",
        ];
        assert_eq!(
            is_new(0.8, &texts),
            [true, false, true, true, true, false, true, false, true, true]
        );
    }

    #[test]
    fn near_duplicates_are_those_above_the_threshold() {
        let original = words(0..190);
        // One changed word changes 5 of 186 shingles.
        let with_changes = |count: usize| {
            let mut changed = original.clone();
            (0..count).for_each(|at| changed[20 * at + 10] = format!("new{at}"));
            changed
        };
        let found = [0, 1, 2, 8, 9].map(|count| {
            let changed = with_changes(count);
            let texts = [original.join(" "), changed.join(" ")];
            (jaccard(&original, &changed), is_new(0.8, &[&texts[0], &texts[1]])[1])
        });
        for (jaccard, is_new) in found {
            assert_eq!(is_new, jaccard < 0.8, "{jaccard} {found:?}");
        }
    }

    #[test]
    fn the_estimate_is_as_exact_as_its_formula() {
        let signer = Signer::new();
        let mut errors = Vec::new();
        for first in 0..200 {
            let a = words(1_000 * first..1_000 * first + 200);
            let b = words(1_000 * first + first % 50..1_000 * first + 200);
            let [x, y] = [&a, &b].map(|words| signer.sign(&words.join(" ")));
            let p = jaccard(&a, &b);
            if first % 50 > 0 {
                let deviation = (p * (1.0 - p) / HASHES as f64).sqrt();
                errors.push((equal(&x, &y) as f64 / HASHES as f64 - p) / deviation);
            }
        }
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let square = errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64;
        assert!(mean.abs() < 0.25, "mean {mean}");
        assert!((0.5..1.6).contains(&square), "mean square {square}");
    }

    proptest! {
        #[test]
        fn a_text_is_a_duplicate_of_itself_and_not_of_other_words(
            text in "\\PC{1,200}", jaccard in 0.05_f64..=1.0,
        ) {
            let other = words(0..100).join(" ");
            prop_assert_eq!(is_new(jaccard, &[&text, &other, &text]), [true, true, false]);
        }
    }
}
