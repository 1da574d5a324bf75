//! The elements of a parameter that a rank owns; [`Sharding`](crate::Sharding) says which state is
//! sharded.

use std::ops::Range;

use burn::tensor::Tensor;

/// Elements of a granule. Ranks never split one, because 8-bit moments have one scale per granule.
pub const GRANULE: usize = 256;

/// Consecutive granules of a parameter's elements. The last granule of a parameter may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The first element.
    pub start: usize,
    /// Number of elements; may be 0.
    pub len: usize,
    /// Elements of the whole parameter.
    pub count: usize,
}

impl Shard {
    /// The shard of rank `rank` of `world_size` in `count` elements. The shards of two ranks differ
    /// by one granule at most.
    pub fn new(count: usize, rank: usize, world_size: usize) -> Self {
        let (start, end) = (edge(count, rank, world_size), edge(count, rank + 1, world_size));
        Self { start, len: end - start, count }
    }

    /// The starts of the shards of `world_size` ranks in `count` elements, and the end of the last
    /// one.
    pub fn edges(count: usize, world_size: usize) -> Vec<usize> {
        (0..=world_size).map(|rank| edge(count, rank, world_size)).collect()
    }

    /// The range of the elements.
    pub fn range(self) -> Range<usize> {
        self.start..self.start + self.len
    }

    /// The shard of a tensor, `[count]`, for short use: a view, which keeps all of its memory.
    pub fn of(self, values: Tensor<1>) -> Tensor<1> {
        if self.len == self.count { values } else { values.slice([self.range()]) }
    }

    /// The shard of a tensor, `[count]`, for long use: a copy, unless it is all of the tensor.
    pub fn own(self, values: Tensor<1>) -> Tensor<1> {
        if self.len == self.count {
            return values;
        }
        let shard = Tensor::zeros([self.len], (&values.device(), values.dtype()));
        if self.len == 0 { shard } else { shard.slice_assign(0..self.len, self.of(values)) }
    }
}

fn edge(count: usize, rank: usize, world_size: usize) -> usize {
    let granules = count.div_ceil(GRANULE);
    (rank * granules / world_size * GRANULE).min(count)
}

#[cfg(test)]
mod tests {
    use super::{GRANULE, Shard};

    #[test]
    fn shards_cover_everything_once_and_differ_by_a_granule() {
        for count in [0, 1, 255, 256, 257, 5 * GRANULE, 10 * GRANULE + 17] {
            for world_size in [1, 2, 3, 4, 7] {
                let shards: Vec<Shard> =
                    (0..world_size).map(|rank| Shard::new(count, rank, world_size)).collect();
                let elements: Vec<usize> = shards.iter().flat_map(|shard| shard.range()).collect();
                assert_eq!(elements, (0..count).collect::<Vec<_>>());
                let granules: Vec<usize> =
                    shards.iter().map(|shard| shard.len.div_ceil(GRANULE)).collect();
                assert!(
                    granules.iter().max().unwrap() - granules.iter().min().unwrap() <= 1,
                    "{granules:?}"
                );
                assert!(shards.iter().all(|shard| shard.start % GRANULE == 0 || shard.len == 0));
            }
        }
    }
}
