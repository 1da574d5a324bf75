//! Free slots of the cache.

use std::collections::BTreeMap;
use std::ops::Range;

/// The slots that no sequence uses: maximal ranges, by start.
#[derive(Debug, Default)]
pub(super) struct Slots {
    free: BTreeMap<usize, usize>,
    total: usize,
}

impl Slots {
    /// Adds `count` slots behind all others.
    pub(super) fn grow(&mut self, count: usize) {
        let start = self.total;
        self.total += count;
        self.release(start..self.total);
    }

    /// All slots, used and free.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Number of free slots.
    pub(super) fn available(&self) -> usize {
        self.free.values().sum::<usize>() - self.free.keys().sum::<usize>()
    }

    /// Takes `count` slots, in as few ranges as the first fit finds.
    ///
    /// # Panics
    /// When fewer are free.
    pub(super) fn take(&mut self, count: usize) -> Vec<Range<usize>> {
        let fits = self.free.iter().find(|(start, end)| **end - **start >= count);
        if let Some((&start, &end)) = fits {
            self.free.remove(&start);
            if start + count < end {
                self.free.insert(start + count, end);
            }
            return (count > 0).then_some(start..start + count).into_iter().collect();
        }
        let (mut taken, mut missing) = (Vec::new(), count);
        while missing > 0 {
            let (start, end) = self.free.pop_first().expect("enough free slots");
            let count = missing.min(end - start);
            if count < end - start {
                self.free.insert(start + count, end);
            }
            taken.push(start..start + count);
            missing -= count;
        }
        taken
    }

    /// Returns a range that was taken.
    pub(super) fn release(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        if let Some((&before, &before_end)) = self.free.range(..start).next_back()
            && before_end == start
        {
            self.free.remove(&before);
            start = before;
        }
        if let Some(after_end) = self.free.remove(&end) {
            end = after_end;
        }
        self.free.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_ranges_join_and_a_request_may_get_several() {
        let mut slots = Slots::default();
        slots.grow(10);
        let [first, second, third] = [3, 3, 4].map(|count| slots.take(count));
        assert_eq!((&first, &second, &third), (&vec![0..3], &vec![3..6], &vec![6..10]));
        assert_eq!(slots.available(), 0);
        slots.release(0..3);
        slots.release(6..10);
        assert_eq!(slots.take(5), [0..3, 6..8]);
        slots.release(3..6);
        slots.release(0..3);
        slots.release(6..8);
        assert_eq!((slots.available(), slots.take(10)), (10, vec![0..10]));
        slots.grow(2);
        assert_eq!((slots.total(), slots.take(2)), (12, vec![10..12]));
        assert!(slots.take(0).is_empty());
    }
}
