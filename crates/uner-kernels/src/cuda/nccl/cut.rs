//! Which operations of NCCL a collective of a vector is, by where the vector is cut.
//!
//! Shares are whole blocks of 256 elements, so they differ by a block where the ranks do not divide
//! the blocks evenly. NCCL's reduce-scatter and all-gather want equal parts; others are one
//! reduction or broadcast for each part, which move as many bytes, in one group. Padding to equal
//! parts would cost a copy of every vector instead.

/// An operation on elements of one vector. `root` is the rank that gets or gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    ReduceScatter { len: usize },
    Reduce { start: usize, len: usize, root: usize },
    AllGather { len: usize },
    Broadcast { start: usize, len: usize, root: usize },
}

/// Those that add a vector up to its parts.
pub(super) fn reduce_scatter(edges: &[usize]) -> Vec<Operation> {
    match equal(edges) {
        Some(len) => vec![Operation::ReduceScatter { len }],
        None => {
            parts(edges).map(|(start, len, root)| Operation::Reduce { start, len, root }).collect()
        }
    }
}

/// Those that put a vector together from its parts.
pub(super) fn all_gather(edges: &[usize]) -> Vec<Operation> {
    match equal(edges) {
        Some(len) => vec![Operation::AllGather { len }],
        None => parts(edges)
            .map(|(start, len, root)| Operation::Broadcast { start, len, root })
            .collect(),
    }
}

/// The length of all parts, where it is the same and not 0.
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
