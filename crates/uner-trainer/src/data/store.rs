//! The encoded conversations of a training set, in a file. Memory contains only an index of 16
//! bytes per conversation, regardless of the length of the texts.

use std::io::{BufWriter, Write};
use std::path::Path;

use memmap2::Mmap;
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_prompt::{Fitted, PromptError, Tokens, drop_overlong, fit, permute_queries};

use crate::data::sequence::{AskedType, Sequence, SpanSequence};
use crate::data::shuffle::permutation;
use crate::error::TrainError;

/// In a record, in place of the number of exchanges: a passage that a span head reads.
const SPANS: u32 = u32::MAX;
/// The bit that marks a stored token as trained on.
const TRAINED: u32 = 1 << 31;

/// Encoded conversations on disk, read by index.
///
/// The file has no name and disappears with the process. One record: the ends of the exchanges,
/// then the ids, each with its loss mask in the highest bit, all little-endian u32. A sequence with
/// classes has no exchanges; its record is its ids, then its labels. The record of a passage that a
/// span head reads is its ids, the index of its second reading, the number of types, and for each
/// type the numbers of its tokens and entities, its ids, and start and end of each entity.
#[derive(Debug)]
pub struct TokenStore {
    map: Mmap,
    records: Vec<Record>,
    max_seq_len: usize,
    summary: Summary,
}

/// Position and size of a conversation in the file, in words of 32 bits.
#[derive(Debug, Clone, Copy)]
struct Record {
    start: u64,
    exchanges: u32,
    tokens: u32,
}

/// Counts of a store's contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Stored conversations.
    pub conversations: usize,
    /// Their tokens.
    pub tokens: u64,
    /// Tokens that are trained on.
    pub trained_tokens: u64,
    /// Queries left out because they do not fit behind their passage, even alone.
    pub overlong_queries: usize,
    /// Conversations left out because they have no trained token.
    pub untrained: usize,
    /// CRC-32 of all stored bytes: a resumed run must have the same.
    pub fingerprint: u32,
}

/// Writes a [`TokenStore`], one conversation after the other.
#[derive(Debug)]
pub struct StoreWriter {
    file: BufWriter<std::fs::File>,
    checksum: crc32fast::Hasher,
    records: Vec<Record>,
    position: u64,
    max_seq_len: usize,
    summary: Summary,
}

impl StoreWriter {
    /// Starts a store in an unnamed file in `folder`, for conversations that will be cut to
    /// `max_seq_len` tokens.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn new(folder: &Path, max_seq_len: usize) -> Result<Self, TrainError> {
        let file = tempfile::tempfile_in(folder).map_err(|error| TrainError::at(folder, &error))?;
        Ok(Self {
            file: BufWriter::new(file),
            checksum: crc32fast::Hasher::new(),
            records: Vec::new(),
            position: 0,
            max_seq_len,
            summary: Summary::default(),
        })
    }

    /// Appends a conversation. Queries that do not fit behind the passage even alone are left out
    /// and counted, so that in any later order of the queries at least one fits.
    ///
    /// # Errors
    /// [`PromptError::TooLong`] when no query fits; an I/O error when the disk is full.
    pub fn push(&mut self, tokens: &Tokens) -> Result<(), TrainError> {
        let Fitted { tokens, dropped_queries } = drop_overlong(tokens, self.max_seq_len)?;
        self.summary.overlong_queries += dropped_queries;
        let trained = tokens.num_trained();
        if trained == 0 {
            self.summary.untrained += 1;
            return Ok(());
        }
        let words = tokens.exchanges.iter().map(|&end| end as u32).chain(
            tokens
                .ids
                .iter()
                .zip(&tokens.loss_mask)
                .map(|(&id, &trained)| if trained { id | TRAINED } else { id }),
        );
        let record = Record {
            start: self.position,
            exchanges: tokens.exchanges.len() as u32,
            tokens: tokens.ids.len() as u32,
        };
        self.write(words, record)?;
        self.summary.trained_tokens += trained as u64;
        Ok(())
    }

    /// Appends a sequence whose tokens have classes.
    ///
    /// # Errors
    /// When the disk is full.
    ///
    /// # Panics
    /// When it is longer than the limit of the store.
    pub fn push_classified(&mut self, sequence: &Sequence) -> Result<(), TrainError> {
        let (Sequence { ids, labels, .. }, limit) = (sequence, self.max_seq_len);
        assert!(ids.len() <= limit, "a sequence of {} tokens in rows of {limit}", ids.len());
        let trained = labels.iter().filter(|&&label| label != IGNORE_INDEX).count();
        if trained == 0 {
            self.summary.untrained += 1;
            return Ok(());
        }
        let words = ids.iter().copied().chain(labels.iter().map(|label| label.cast_unsigned()));
        self.write(words, Record { start: self.position, exchanges: 0, tokens: ids.len() as u32 })?;
        self.summary.trained_tokens += trained as u64;
        Ok(())
    }

    /// Appends a passage that a span head reads. Types that do not fit into a row beside it are
    /// left out and counted, and a passage without types is left out.
    ///
    /// # Errors
    /// [`PromptError::TooLong`] when no type fits; an I/O error when the disk is full.
    pub fn push_spans(&mut self, ids: &[u32], spans: &SpanSequence) -> Result<(), TrainError> {
        let SpanSequence { second, types } = spans;
        let mut room = self.max_seq_len.saturating_sub(ids.len());
        let fits = |asked: &&AskedType| {
            let fits = asked.ids.len() <= room;
            room -= if fits { asked.ids.len() } else { 0 };
            fits
        };
        let kept: Vec<&AskedType> = types.iter().filter(fits).collect();
        match (types.first(), kept.is_empty()) {
            (None, _) => {
                self.summary.untrained += 1;
                return Ok(());
            }
            (Some(first), true) => {
                let (passage, max_seq_len) = (ids.len(), self.max_seq_len);
                let needed = passage + first.ids.len();
                return Err(PromptError::TooLong { needed, passage, max_seq_len }.into());
            }
            _ => self.summary.overlong_queries += types.len() - kept.len(),
        }
        let mut words = [ids, &[*second as u32, kept.len() as u32]].concat();
        for AskedType { ids, entities } in kept {
            words.extend([ids.len() as u32, entities.len() as u32]);
            words.extend(ids);
            words.extend(
                entities.iter().flat_map(|tokens| [tokens.start, tokens.end]).map(|at| at as u32),
            );
        }
        let record = Record { start: self.position, exchanges: SPANS, tokens: ids.len() as u32 };
        self.write(words.into_iter(), record)?;
        self.summary.trained_tokens += (ids.len() - second) as u64;
        Ok(())
    }

    /// Writes the words of a record.
    fn write(
        &mut self,
        words: impl Iterator<Item = u32>,
        record: Record,
    ) -> Result<(), TrainError> {
        for word in words {
            let bytes = word.to_le_bytes();
            self.checksum.update(&bytes);
            self.file.write_all(&bytes)?;
            self.position += 1;
        }
        self.records.push(record);
        self.summary.conversations += 1;
        self.summary.tokens += u64::from(record.tokens);
        Ok(())
    }

    /// Closes the file for writing and opens it for reading.
    ///
    /// # Errors
    /// When the disk is full, or when nothing was pushed.
    pub fn finish(mut self) -> Result<TokenStore, TrainError> {
        if self.records.is_empty() {
            return Err(TrainError::NoData { untrained: self.summary.untrained });
        }
        self.file.flush()?;
        self.summary.fingerprint = self.checksum.finalize();
        let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        // SAFETY: the file has no name, so no other process can change it.
        #[expect(
            unsafe_code,
            reason = "tokens that are not being read should not count as memory in use"
        )]
        let map = unsafe { Mmap::map(&file)? };
        Ok(TokenStore {
            map,
            records: self.records,
            max_seq_len: self.max_seq_len,
            summary: self.summary,
        })
    }
}

impl TokenStore {
    /// The number of conversations.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the store is empty; never true of a finished store.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The counts of its contents.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Conversation `index` as it was pushed.
    ///
    /// # Panics
    /// When `index` is not below [`TokenStore::len`].
    pub fn get(&self, index: usize) -> Tokens {
        let Record { start, exchanges, tokens } = self.records[index];
        let words: &[u32] = bytemuck::cast_slice(&self.map);
        let (start, exchanges) = (start as usize, exchanges as usize);
        let words = &words[start..start + exchanges + tokens as usize];
        let (ends, ids) = words.split_at(exchanges);
        Tokens {
            ids: ids.iter().map(|id| id & !TRAINED).collect(),
            loss_mask: ids.iter().map(|id| id & TRAINED != 0).collect(),
            exchanges: ends.iter().map(|&end| end as usize).collect(),
        }
    }

    /// Sequence `index` as epoch `epoch` trains on it, and the number of dropped queries: a
    /// conversation of [`TokenStore::in_epoch`], a sequence with classes, or a passage.
    ///
    /// # Panics
    /// When `index` is not below [`TokenStore::len`].
    pub fn sequence(&self, index: usize, seed: u64, epoch: u64) -> (Sequence, usize) {
        let Record { start, exchanges, tokens } = self.records[index];
        if exchanges == SPANS {
            let words: &[u32] = bytemuck::cast_slice(&self.map);
            return (passage(&words[start as usize..], tokens as usize), 0);
        }
        if exchanges > 0 {
            let (tokens, dropped_queries) = self.in_epoch(index, seed, epoch);
            return (tokens.into(), dropped_queries);
        }
        let words: &[u32] = bytemuck::cast_slice(&self.map);
        let (ids, labels) =
            words[start as usize..][..2 * tokens as usize].split_at(tokens as usize);
        let labels = labels.iter().map(|label| label.cast_signed()).collect();
        (Sequence::new(ids.to_vec(), labels), 0)
    }

    /// Conversation `index` as epoch `epoch` trains on it, and the number of dropped queries. The
    /// queries are in the order drawn from (`seed`, `epoch`, `index`); queries that do not fit are
    /// dropped from the end.
    ///
    /// # Panics
    /// When `index` is not below [`TokenStore::len`].
    pub fn in_epoch(&self, index: usize, seed: u64, epoch: u64) -> (Tokens, usize) {
        let tokens = self.get(index);
        let order =
            permutation(tokens.exchanges.len().saturating_sub(1), seed, epoch, index as u64 + 1);
        let fitted = fit(permute_queries(&tokens, &order), self.max_seq_len)
            .expect("a stored conversation fits with any one of its queries");
        (fitted.tokens, fitted.dropped_queries)
    }
}

/// The passage of `tokens` tokens whose record begins with these words.
fn passage(words: &[u32], tokens: usize) -> Sequence {
    let (ids, mut words) = words.split_at(tokens);
    let mut take = |count: usize| {
        let (taken, rest) = words.split_at(count);
        words = rest;
        taken
    };
    let (second, num_types) = (take(1)[0] as usize, take(1)[0]);
    let mut asked = || {
        let (num_ids, num_entities) = (take(1)[0] as usize, take(1)[0] as usize);
        let ids = take(num_ids).to_vec();
        let entities = take(2 * num_entities).chunks(2);
        let entities = entities.map(|ends| ends[0] as usize..ends[1] as usize).collect();
        AskedType { ids, entities }
    };
    let types = (0..num_types).map(|_| asked()).collect();
    Sequence::of_spans(ids.to_vec(), SpanSequence { second, types })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_with_its_types_is_read_back_and_types_without_room_are_counted() {
        let asked = |ids: &[u32], entities: &[std::ops::Range<usize>]| AskedType {
            ids: ids.to_vec(),
            entities: entities.to_vec(),
        };
        let types =
            vec![asked(&[1, 5, 6], &[0..2, 3..4]), asked(&[1; 9], &[]), asked(&[1, 7], &[])];
        let spans = SpanSequence { second: 5, types };
        let ids: Vec<u32> = (10..20).collect();
        let mut writer = StoreWriter::new(&std::env::temp_dir(), 16).unwrap();
        writer.push_spans(&[9, 9], &SpanSequence::default()).unwrap();
        writer.push_spans(&ids, &spans).unwrap();
        writer.push_spans(&ids[..4], &SpanSequence { second: 2, ..spans.clone() }).unwrap();
        let error = writer.push_spans(&[7; 15], &spans).unwrap_err().to_string();
        assert!(error.contains("need `18` tokens"), "{error}");
        let store = writer.finish().unwrap();
        let SpanSequence { second, types } = &spans;
        let kept = vec![types[0].clone(), types[2].clone()];
        let expected = SpanSequence { second: *second, types: kept };
        assert_eq!(store.sequence(0, 0, 0).0, Sequence::of_spans(ids.clone(), expected));
        let expected = SpanSequence { second: 2, types: spans.types[..2].to_vec() };
        assert_eq!(store.sequence(1, 0, 0).0, Sequence::of_spans(ids[..4].to_vec(), expected));
        let Summary { tokens, trained_tokens, overlong_queries, untrained, .. } = store.summary();
        assert_eq!((*tokens, *trained_tokens), (14, 5 + 2));
        assert_eq!((*overlong_queries, *untrained), (2, 1));
    }

    /// A passage of `passage` tokens and queries of the given lengths, the last token of each
    /// trained.
    fn conversation(passage: usize, queries: &[usize]) -> Tokens {
        let mut tokens = Tokens {
            ids: vec![7; passage],
            loss_mask: vec![false; passage],
            exchanges: vec![passage],
        };
        for (number, &length) in queries.iter().enumerate() {
            tokens.ids.extend(vec![10 + number as u32; length]);
            tokens.loss_mask.extend(vec![false; length - 1]);
            tokens.loss_mask.push(true);
            tokens.exchanges.push(tokens.ids.len());
        }
        tokens
    }

    fn store(all: &[Tokens], max_seq_len: usize) -> TokenStore {
        let mut writer = StoreWriter::new(&std::env::temp_dir(), max_seq_len).unwrap();
        for tokens in all {
            writer.push(tokens).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_pushed_is_read_back() {
        let all = [conversation(5, &[2, 3]), conversation(1, &[4]), conversation(9, &[1, 1, 1])];
        let store = store(&all, 100);
        all.iter().enumerate().for_each(|(index, tokens)| assert_eq!(&store.get(index), tokens));
        assert_eq!(store.summary().tokens, 10 + 5 + 12);
        assert_eq!(store.summary().trained_tokens, 6);
    }

    #[test]
    fn an_epoch_has_its_own_order_and_drops_whole_queries_from_the_end() {
        let store = store(&[conversation(4, &[3, 3, 3, 3])], 10);
        let (first, dropped) = store.in_epoch(0, 1, 0);
        assert_eq!((first.ids.len(), dropped), (10, 2));
        assert_eq!(store.in_epoch(0, 1, 0).0, first);
        assert!((1..20).any(|epoch| store.in_epoch(0, 1, epoch).0 != first));
    }

    #[test]
    fn a_query_that_never_fits_is_counted_and_a_passage_that_never_fits_refused() {
        let mut writer = StoreWriter::new(&std::env::temp_dir(), 10).unwrap();
        writer.push(&conversation(4, &[9, 2])).unwrap();
        let error = writer.push(&conversation(9, &[3, 2])).unwrap_err().to_string();
        assert!(
            error.contains("need `11` tokens") && error.contains("max_seq_len `10`"),
            "{error}"
        );
        let store = writer.finish().unwrap();
        assert_eq!(store.summary().overlong_queries, 1);
        assert_eq!(store.get(0).ids, [7, 7, 7, 7, 11, 11]);
    }
}
