//! The bytes that each token adds to a text.

use super::{Model, Tokenizer};
use serde_json::Value;
use std::collections::BTreeSet;
use tokenizers::ModelWrapper;

impl Tokenizer {
    /// For each id, the bytes that its token adds to a text that it continues; nothing for special
    /// tokens, the unknown token and unused ids. The bytes of a valid text, put together, are what
    /// [`Self::decode`] returns, but for a space at the start.
    pub(crate) fn added_bytes(&self) -> Vec<Vec<u8>> {
        let mut bytes = match &self.model {
            Model::HuggingFace(model) => of_json(model.plain(), self.vocab_size()),
            Model::SentencePiece(model) => model.added_bytes(),
        };
        for id in [self.bos(), self.eos(), self.pad()] {
            if let Some(bytes) = bytes.get_mut(id as usize) {
                bytes.clear();
            }
        }
        bytes
    }
}

fn of_json(tokenizer: &tokenizers::Tokenizer, vocab_size: usize) -> Vec<Vec<u8>> {
    let decoder = serde_json::to_value(tokenizer.get_decoder()).unwrap_or_default();
    let (has_byte_level, has_fallback) =
        (has_step(&decoder, "ByteLevel"), has_step(&decoder, "ByteFallback"));
    let alphabet = byte_level_alphabet();
    let silent = silent(tokenizer);
    let anchor = Anchor::new(tokenizer);
    let bytes = |id: u32| {
        let token = tokenizer.id_to_token(id).filter(|_| !silent.contains(&id))?;
        let fallback = || has_fallback.then(|| byte_of(&token)).flatten();
        if has_byte_level {
            let bytes = token.chars().map(|character| {
                alphabet.iter().position(|other| *other == character).map(|byte| byte as u8)
            });
            Some(bytes.collect::<Option<Vec<u8>>>().unwrap_or_else(|| token.into_bytes()))
        } else if let Some(byte) = fallback() {
            Some(vec![byte])
        } else {
            anchor.added(tokenizer, id)
        }
    };
    (0..vocab_size as u32).map(|id| bytes(id).unwrap_or_default()).collect()
}

/// A token before the one that is decoded, so that this one does not begin the text.
struct Anchor {
    ids: Vec<u32>,
    text: String,
}

impl Anchor {
    fn new(tokenizer: &tokenizers::Tokenizer) -> Self {
        let encoding = tokenizer.encode_fast("a", false);
        let ids = encoding.map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default();
        let text = tokenizer.decode(&ids, true).unwrap_or_default();
        Self { ids, text }
    }

    fn added(&self, tokenizer: &tokenizers::Tokenizer, id: u32) -> Option<Vec<u8>> {
        let text = tokenizer.decode(&[&self.ids[..], &[id]].concat(), true).ok()?;
        Some(text.strip_prefix(&self.text)?.as_bytes().to_vec())
    }
}

/// Tokens that add no text, or none of their own.
fn silent(tokenizer: &tokenizers::Tokenizer) -> BTreeSet<u32> {
    let unknown = match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.unk_token.clone(),
        ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
        ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
        ModelWrapper::Unigram(_) => Some("<unk>".to_owned()),
    };
    let added = tokenizer.get_added_tokens_decoder();
    let special = added.into_iter().filter(|(_, token)| token.special).map(|(id, _)| id);
    special.chain(unknown.and_then(|token| tokenizer.token_to_id(&token))).collect()
}

/// Whether a step of `tokenizer.json`, or one of its parts, has a type.
fn has_step(step: &Value, kind: &str) -> bool {
    let parts = step["decoders"].as_array().map_or(&[][..], Vec::as_slice);
    step["type"] == kind || parts.iter().any(|part| has_step(part, kind))
}

/// The byte that a token such as `<0x0A>` stands for.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The characters that stand for the 256 bytes in byte-level vocabularies (GPT-2): visible ones for
/// themselves, the others for the characters from U+0100 on, in their order.
pub(super) fn byte_level_alphabet() -> Vec<char> {
    let mut hidden = '\u{100}'..;
    let character = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => hidden.next().unwrap_or_default(),
    };
    (0..=255).map(character).collect()
}
