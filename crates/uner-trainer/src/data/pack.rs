//! Packing whole conversations into rows.

use crate::data::sequence::Sequence;

/// Packs lengths into rows by first-fit decreasing: the longest first, each into the first row with
/// room. Returns the indices of each row. The result is deterministic, and has at most 11/9 of the
/// fewest possible rows, plus a constant (Johnson 1973).
///
/// # Panics
/// When a length exceeds `max_seq_len`.
pub fn pack(lengths: &[usize], max_seq_len: usize) -> Vec<Vec<usize>> {
    let mut longest_first: Vec<usize> = (0..lengths.len()).collect();
    longest_first.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    for index in longest_first {
        let length = lengths[index];
        assert!(
            length <= max_seq_len,
            "a conversation of {length} tokens does not fit a row of {max_seq_len}"
        );
        match rows.iter_mut().find(|(used, _)| used + length <= max_seq_len) {
            Some((used, row)) => {
                *used += length;
                row.push(index);
            }
            None => rows.push((length, vec![index])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Packs sequences, such as conversations, into rows of at most `max_seq_len` tokens.
///
/// # Panics
/// When one exceeds `max_seq_len`.
pub fn pack_tokens<S: Into<Sequence>>(sequences: Vec<S>, max_seq_len: usize) -> Vec<Vec<Sequence>> {
    let mut sequences: Vec<Sequence> = sequences.into_iter().map(Into::into).collect();
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.ids.len()).collect();
    pack(&lengths, max_seq_len)
        .into_iter()
        .map(|row| row.into_iter().map(|index| std::mem::take(&mut sequences[index])).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::pack;

    proptest! {
        #[test]
        fn every_conversation_is_packed_once_and_no_row_overflows(
            lengths in prop::collection::vec(1usize..=64, 0..200),
        ) {
            let rows = pack(&lengths, 64);
            for row in &rows {
                prop_assert!(row.iter().map(|&index| lengths[index]).sum::<usize>() <= 64);
            }
            let mut packed: Vec<usize> = rows.concat();
            packed.sort_unstable();
            prop_assert_eq!(packed, (0..lengths.len()).collect::<Vec<_>>());
            // At most one row is half full or less: two such rows would have been packed into one.
            let total: usize = lengths.iter().sum();
            prop_assert!(rows.len() <= 2 * total.div_ceil(64).max(1));
        }
    }
}
