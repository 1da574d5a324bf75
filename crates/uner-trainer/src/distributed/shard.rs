//! Which elements of a parameter a rank owns.

use std::ops::Range;

use burn::tensor::Tensor;

/// Elements that are never divided: the blocks of 8-bit moments have one scale each.
pub const BLOCK: usize = 256;

/// Some whole blocks of a parameter's elements; the last one may be cut short by the parameter's
/// end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The first element.
    pub start: usize,
    /// How many there are; may be 0.
    pub len: usize,
    /// Elements of the whole parameter.
    pub count: usize,
}

impl Share {
    /// What rank `rank` of `world_size` owns of `count` elements: as many blocks as the others, or
    /// one more.
    pub fn new(count: usize, rank: usize, world_size: usize) -> Self {
        let (start, end) = (edge(count, rank, world_size), edge(count, rank + 1, world_size));
        Self { start, len: end - start, count }
    }

    /// Where the shares of `world_size` ranks in `count` elements begin, and where the last one
    /// ends.
    pub fn edges(count: usize, world_size: usize) -> Vec<usize> {
        (0..=world_size).map(|rank| edge(count, rank, world_size)).collect()
    }

    /// The elements.
    pub fn range(self) -> Range<usize> {
        self.start..self.start + self.len
    }

    /// The share of a tensor, `[count]`, for a moment: a view of it, which keeps all of its memory.
    pub fn of(self, values: Tensor<1>) -> Tensor<1> {
        if self.len == self.count { values } else { values.slice([self.range()]) }
    }

    /// The share of a tensor, `[count]`, to be kept: without the rest of it.
    pub fn own(self, values: Tensor<1>) -> Tensor<1> {
        if self.len == self.count {
            return values;
        }
        let share = Tensor::zeros([self.len], (&values.device(), values.dtype()));
        if self.len == 0 { share } else { share.slice_assign(0..self.len, self.of(values)) }
    }
}

fn edge(count: usize, rank: usize, world_size: usize) -> usize {
    let blocks = count.div_ceil(BLOCK);
    (rank * blocks / world_size * BLOCK).min(count)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Share};

    #[test]
    fn shares_cover_everything_once_and_differ_by_a_block() {
        for count in [0, 1, 255, 256, 257, 5 * BLOCK, 10 * BLOCK + 17] {
            for world_size in [1, 2, 3, 4, 7] {
                let shares: Vec<Share> =
                    (0..world_size).map(|rank| Share::new(count, rank, world_size)).collect();
                let elements: Vec<usize> = shares.iter().flat_map(|share| share.range()).collect();
                assert_eq!(elements, (0..count).collect::<Vec<_>>());
                let blocks: Vec<usize> =
                    shares.iter().map(|share| share.len.div_ceil(BLOCK)).collect();
                assert!(
                    blocks.iter().max().unwrap() - blocks.iter().min().unwrap() <= 1,
                    "{blocks:?}"
                );
                assert!(shares.iter().all(|share| share.start % BLOCK == 0 || share.len == 0));
            }
        }
    }
}
