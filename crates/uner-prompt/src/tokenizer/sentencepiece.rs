//! SentencePiece BPE as in LLaMA 1 and 2, with byte fallback (Kudo and Richardson 2018).
//!
//! Implemented here, because the ids must be exact. Of equally good merges, SentencePiece takes the
//! leftmost. A list of merge rules (as in `tokenizer.json`) also orders the merges that make one
//! piece, and so differs on runs of one character.

use super::bytes::byte_of;
use super::config::{self, SpecialIds};
use super::merge::{Pieces, merge};
use super::proto::{BPE, BYTE, CONTROL, ModelProto, NORMAL, Piece, TrainerSpec, UNKNOWN};
use super::{SpacePrefix, TokenizerError};
use prost::Message;
use serde_json::json;
use std::path::Path;

/// Stands for a space inside pieces.
pub(super) const SPACE_MARK: char = '▁';

/// A SentencePiece model.
#[derive(Debug)]
pub(super) struct SentencePiece {
    /// The bytes of the file, so that saving writes it unchanged.
    file: Vec<u8>,
    /// Text and kind, by id.
    vocabulary: Vec<(String, i32)>,
    pieces: Pieces,
    special: SpecialIds,
    pub(super) space_prefix: SpacePrefix,
}

impl SentencePiece {
    pub(super) fn read(file: &[u8], space_prefix: SpacePrefix) -> Result<Self, String> {
        let proto = ModelProto::decode(file)
            .map_err(|error| format!("not a SentencePiece model: {error}"))?;
        check(&proto)?;
        let vocabulary: Vec<(String, i32)> = proto
            .pieces
            .iter()
            .map(|piece| (piece.text().to_owned(), piece.kind.unwrap_or(NORMAL)))
            .collect();
        let pieces = Pieces::new(proto.pieces.iter().map(scored_piece))?;
        let special = special_ids(proto.trainer_spec.as_ref(), &vocabulary)?;
        Ok(Self { file: file.to_vec(), vocabulary, pieces, special, space_prefix })
    }

    /// The bytes of the file that it was read from.
    pub(super) fn file(&self) -> &[u8] {
        &self.file
    }

    pub(super) fn special_ids(&self) -> SpecialIds {
        self.special
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    pub(super) fn encode(&self, text: &str, continues: bool) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        self.push(text, !continues, &mut ids);
        ids
    }

    pub(super) fn encode_with_special_tokens(&self, text: &str, continues: bool) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        let prefixed = |ids: &[u32]| {
            if ids.is_empty() { !continues } else { self.space_prefix == SpacePrefix::EveryPiece }
        };
        let mut rest = text;
        while let Some((start, id, length)) = self.next_special(rest) {
            self.push(&rest[..start], prefixed(&ids), &mut ids);
            ids.push(id);
            rest = &rest[start + length..];
        }
        self.push(rest, prefixed(&ids), &mut ids);
        ids
    }

    /// Start, id and length of the first literal special token.
    pub(super) fn next_special(&self, text: &str) -> Option<(usize, u32, usize)> {
        [self.special.pad, self.special.bos, self.special.eos]
            .into_iter()
            .filter_map(|id| {
                let token = &self.vocabulary[id as usize].0;
                text.find(token.as_str()).map(|start| (start, id, token.len()))
            })
            .min()
    }

    fn push(&self, text: &str, space_prefix: bool, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let mut marked = String::with_capacity(text.len() * 3 / 2 + SPACE_MARK.len_utf8());
        if space_prefix {
            marked.push(SPACE_MARK);
        }
        marked.extend(
            text.chars().map(|character| if character == ' ' { SPACE_MARK } else { character }),
        );
        merge(&marked, &self.pieces, ids);
    }

    pub(super) fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| self.bytes(*id)).collect();
        let text = String::from_utf8_lossy(&bytes);
        text.strip_prefix(' ').unwrap_or(&text).to_owned()
    }

    /// For each id, the bytes that its piece adds to a text.
    pub(super) fn added_bytes(&self) -> Vec<Vec<u8>> {
        (0..self.vocabulary.len() as u32).map(|id| self.bytes(id)).collect()
    }

    fn bytes(&self, id: u32) -> Vec<u8> {
        let (piece, kind) = &self.vocabulary[id as usize];
        match *kind {
            NORMAL => piece.replace(SPACE_MARK, " ").into_bytes(),
            BYTE => byte_of(piece).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// As [`Self::decode`], but includes special tokens.
    pub(super) fn decode_with_special(&self, ids: &[u32]) -> String {
        let is_special =
            |id: &u32| [self.special.bos, self.special.eos, self.special.pad].contains(id);
        let piece = |run: &[u32]| match run {
            [id] if is_special(id) => self.token(*id),
            run => self.decode(run),
        };
        ids.chunk_by(|a, b| !is_special(a) && !is_special(b)).map(piece).collect()
    }

    pub(super) fn token(&self, id: u32) -> String {
        self.vocabulary.get(id as usize).map_or_else(String::new, |(text, _)| text.clone())
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        fs_err::write(dir.join("tokenizer.model"), &self.file)?;
        let name = |id: u32| &self.vocabulary[id as usize].0;
        let config = json!({
            "tokenizer_class": "LlamaTokenizer",
            "legacy": self.space_prefix == SpacePrefix::EveryPiece,
            "add_bos_token": true,
            "add_eos_token": false,
            "bos_token": name(self.special.bos),
            "eos_token": name(self.special.eos),
            "unk_token": name(self.special.pad),
            "pad_token": name(self.special.pad),
            "clean_up_tokenization_spaces": false,
        });
        let text = serde_json::to_string_pretty(&config).map_err(std::io::Error::from)?;
        fs_err::write(dir.join(config::FILE), text)?;
        Ok(())
    }
}

/// A piece as needed for merging: its text and score, or the byte it stands for. Control pieces are
/// never made from text.
fn scored_piece(piece: &Piece) -> super::merge::Piece<'_> {
    match piece.kind.unwrap_or(NORMAL) {
        NORMAL => super::merge::Piece::Text(piece.text(), piece.score()),
        BYTE => byte_of(piece.text()).map_or(super::merge::Piece::Never, super::merge::Piece::Byte),
        _ => super::merge::Piece::Never,
    }
}

/// Refuses models that this reader would encode differently from SentencePiece.
fn check(proto: &ModelProto) -> Result<(), String> {
    let trainer = proto.trainer_spec.clone().unwrap_or_default();
    let normalizer = proto.normalizer_spec.clone().unwrap_or_default();
    let refused = [
        (trainer.model_type != Some(BPE), "it is not a BPE model"),
        (trainer.byte_fallback != Some(true), "it has no byte fallback"),
        (!normalizer.precompiled_charsmap().is_empty(), "it normalises its text"),
        (normalizer.add_dummy_prefix == Some(false), "it puts no space before the text"),
        (normalizer.remove_extra_whitespaces != Some(false), "it removes white space"),
        (
            proto.pieces.iter().any(|piece| {
                ![NORMAL, UNKNOWN, CONTROL, BYTE].contains(&piece.kind.unwrap_or(NORMAL))
            }),
            "it has user-defined or unused pieces",
        ),
    ];
    match refused.iter().find(|(refused, _)| *refused) {
        Some((_, reason)) => Err(format!(
            "only LLaMA-like SentencePiece models are supported, but {reason}; convert it to `tokenizer.json`"
        )),
        None => Ok(()),
    }
}

/// Finds the special ids. Padding is `<unk>`, as in the released code.
fn special_ids(
    trainer: Option<&TrainerSpec>,
    vocabulary: &[(String, i32)],
) -> Result<SpecialIds, String> {
    let trainer = trainer.cloned().unwrap_or_default();
    let valid = |name: &str, id: i32| {
        let id = u32::try_from(id).ok().filter(|id| (*id as usize) < vocabulary.len());
        id.ok_or_else(|| format!("it has no `{name}` token"))
    };
    Ok(SpecialIds {
        bos: valid("bos", trainer.bos_id.unwrap_or(1))?,
        eos: valid("eos", trainer.eos_id.unwrap_or(2))?,
        pad: valid("unk", trainer.unk_id.unwrap_or(0))?,
    })
}
