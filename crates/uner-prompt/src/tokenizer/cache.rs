//! Caches the ids of short segments: constant parts of a template, questions for frequent types,
//! `[]`. Most segments of a dataset are repetitions, and a look-up is far cheaper than encoding.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Longer segments are passages and answers, which rarely repeat.
const MAX_SEGMENT_BYTES: usize = 96;

/// Limits the memory (about 20 MB when full); further segments are encoded each time.
const MAX_SEGMENTS: usize = 1 << 16;

/// Ids by segment, shared by the encoding threads.
#[derive(Debug, Default)]
pub(super) struct SegmentCache(RwLock<HashMap<Box<str>, Box<[u32]>>>);

impl SegmentCache {
    /// The ids of `segment`, from the cache or computed by `encode`.
    pub(super) fn get_or<E>(
        &self,
        segment: &str,
        encode: impl FnOnce(&str) -> Result<Vec<u32>, E>,
    ) -> Result<Vec<u32>, E> {
        if segment.len() > MAX_SEGMENT_BYTES {
            return encode(segment);
        }
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(ids) = segments.get(segment) {
            return Ok(ids.to_vec());
        }
        let full = segments.len() >= MAX_SEGMENTS;
        drop(segments);
        let ids = encode(segment)?;
        if !full {
            let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
            segments.insert(segment.into(), ids.as_slice().into());
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_SEGMENT_BYTES, SegmentCache};

    #[test]
    fn short_segments_are_encoded_once() {
        let cache = SegmentCache::default();
        let long = "x".repeat(MAX_SEGMENT_BYTES + 1);
        let mut calls = 0;
        for segment in ["a", "a", &long, &long, "b", "a"] {
            let ids = cache.get_or(segment, |text| {
                calls += 1;
                Ok::<_, ()>(vec![text.len() as u32])
            });
            assert_eq!(ids, Ok(vec![segment.len() as u32]));
        }
        assert_eq!(calls, 4);
    }

    #[test]
    fn failures_are_not_cached() {
        let cache = SegmentCache::default();
        assert_eq!(cache.get_or("a", |_| Err("no")), Err("no"));
        assert_eq!(cache.get_or("a", |_| Ok::<_, &str>(vec![7])), Ok(vec![7]));
    }
}
