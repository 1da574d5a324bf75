//! Keys for dropout. A token's key is a hash of (seed, step, ids of its conversation, position in
//! the conversation). A resumed run, a recomputed block, and another layout in rows, micro-batches
//! or devices therefore drop the same elements.

use burn::tensor::{Device, Tensor, TensorData};
use uner_kernels::attention::PADDING;
use uner_model::{Dropout, Llama};

use crate::data::batch::Batch;

/// The key of a step, from which the keys of its tokens are derived.
pub fn of_step(seed: u64, step: u64) -> u64 {
    mixed(mixed(seed) ^ step)
}

/// Dropout of the adapter's inputs for a batch; `None` if nothing is dropped.
pub(crate) fn dropout(model: &Llama, batch: &Batch, device: &Device) -> Option<Dropout> {
    let probability = model.adapter.as_ref()?.config.dropout;
    if probability == 0.0 {
        return None;
    }
    let keys = keys(batch, batch.dropout_key?);
    let count = keys.len();
    let keys = Tensor::from_data(TensorData::new(keys, [count]), device);
    Some(Dropout { keys, probability })
}

/// The key of every token; 0 at padding.
pub(crate) fn keys(batch: &Batch, dropout_key: u64) -> Vec<i32> {
    let length = batch.ids.len() / batch.rows.max(1);
    let rows = batch.ids.chunks(length.max(1)).zip(batch.document.chunks(length.max(1)));
    let mut keys = Vec::with_capacity(batch.ids.len());
    for (ids, document) in rows {
        let mut ids = ids.iter();
        for document in document.chunk_by(|a, b| a == b) {
            let mut checksum = crc32fast::Hasher::new();
            ids.by_ref().take(document.len()).for_each(|id| checksum.update(&id.to_le_bytes()));
            let conversation = u64::from(checksum.finalize()) << 32;
            let key = |position: u64| match document[0] {
                PADDING => 0,
                _ => (mixed(dropout_key ^ (conversation | position)) >> 32) as i32,
            };
            keys.extend((0..document.len() as u64).map(key));
        }
    }
    keys
}

/// Mixes the bits of a number, so that every output bit depends on every input bit (the finaliser
/// of `SplitMix64`, Steele et al. 2014).
fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uner_prompt::Tokens;

    fn tokens(ids: &[u32]) -> Tokens {
        Tokens { ids: ids.to_vec(), loss_mask: vec![true; ids.len()], exchanges: vec![ids.len()] }
    }

    #[test]
    fn a_key_depends_on_step_conversation_and_position_and_not_on_the_layout() {
        let (a, b) = (tokens(&[1, 5, 6]), tokens(&[1, 7]));
        let packed = Batch::new(&[vec![a.clone(), b.clone()]]);
        let apart = Batch::new(&[vec![b], vec![a]]);
        let of = |batch: &Batch, seed, step| keys(batch, of_step(seed, step));
        let found = of(&packed, 1, 2);
        let other = of(&apart, 1, 2);
        assert_eq!([&other[3..], &other[..2]].concat(), found);
        assert_eq!(other[2], 0, "padding");
        let distinct: std::collections::BTreeSet<i32> =
            [found.clone(), of(&packed, 1, 3), of(&packed, 2, 2)].concat().into_iter().collect();
        assert_eq!(distinct.len(), 15);
    }
}
