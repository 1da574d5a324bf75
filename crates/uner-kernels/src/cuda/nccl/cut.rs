//! Chooses NCCL's operations for a collective on a vector, by the edges of its parts.
//!
//! Shards are whole granules of 256 elements, so they differ by one granule if the ranks do not
//! divide the granules evenly. NCCL's reduce-scatter and all-gather need equal parts. Unequal parts
//! become one reduce or broadcast per part, in one group, which moves as many bytes. Padding to
//! equal parts would cost a copy of every vector.

/// An operation on elements of one vector. `root` is the rank that receives or sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    ReduceScatter { len: usize },
    Reduce { start: usize, len: usize, root: usize },
    AllGather { len: usize },
    Broadcast { start: usize, len: usize, root: usize },
}

/// The operations of a reduce-scatter.
pub(super) fn reduce_scatter(edges: &[usize]) -> Vec<Operation> {
    match equal(edges) {
        Some(len) => vec![Operation::ReduceScatter { len }],
        None => {
            parts(edges).map(|(start, len, root)| Operation::Reduce { start, len, root }).collect()
        }
    }
}

/// The operations of an all-gather.
pub(super) fn all_gather(edges: &[usize]) -> Vec<Operation> {
    match equal(edges) {
        Some(len) => vec![Operation::AllGather { len }],
        None => parts(edges)
            .map(|(start, len, root)| Operation::Broadcast { start, len, root })
            .collect(),
    }
}

/// The length of the parts, if all are equally long and not empty.
fn equal(edges: &[usize]) -> Option<usize> {
    let len = edges[1] - edges[0];
    (len > 0 && edges.windows(2).all(|edge| edge[1] - edge[0] == len)).then_some(len)
}

/// Start, length and rank of each part that is not empty.
fn parts(edges: &[usize]) -> impl Iterator<Item = (usize, usize, usize)> {
    let parts = edges.windows(2).enumerate().map(|(rank, edge)| (edge[0], edge[1] - edge[0], rank));
    parts.filter(|(_, len, _)| *len > 0)
}

#[cfg(test)]
mod tests {
    use super::Operation::{AllGather, Broadcast, Reduce, ReduceScatter};
    use super::{all_gather, reduce_scatter};

    #[test]
    fn equal_parts_are_one_operation_and_others_one_each() {
        assert_eq!(reduce_scatter(&[0, 512, 1024]), [ReduceScatter { len: 512 }]);
        assert_eq!(all_gather(&[0, 7]), [AllGather { len: 7 }]);
        assert_eq!(
            reduce_scatter(&[0, 0, 256, 300]),
            [Reduce { start: 0, len: 256, root: 1 }, Reduce { start: 256, len: 44, root: 2 }]
        );
        assert_eq!(
            all_gather(&[0, 512, 768]),
            [
                Broadcast { start: 0, len: 512, root: 0 },
                Broadcast { start: 512, len: 256, root: 1 }
            ]
        );
        assert_eq!(reduce_scatter(&[0, 0, 0]), []);
    }
}
