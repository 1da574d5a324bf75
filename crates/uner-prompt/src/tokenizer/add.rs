//! Adds tokens to a tokenizer.

use super::hugging_face::HuggingFace;
use super::vocabulary::{Algorithm, PieceKind, SpecialTokens};
use super::{Model, Tokenizer, TokenizerError};
use serde_json::json;

impl Tokenizer {
    /// The tokenizer with those of `texts` as tokens that it lacks. Their ids follow its last id.
    /// A character that it has so far written as bytes, or as the unknown token, becomes a piece
    /// like any other; a longer text is matched before the rest is split.
    ///
    /// # Errors
    /// A text is empty, or the tokenizer changes it before it looks for tokens.
    pub fn with_tokens(self, texts: &[String]) -> Result<Self, TokenizerError> {
        let mut tokenizer = self;
        for text in texts {
            if tokenizer.id(text)?.is_none() {
                tokenizer = tokenizer.with_token(text)?;
            }
        }
        Ok(tokenizer)
    }

    /// The id of a text that is one token.
    fn id(&self, text: &str) -> Result<Option<u32>, TokenizerError> {
        let ids = self.encode_continuation(text)?;
        Ok(match ids[..] {
            [id] if self.token(id) == text => Some(id),
            // Byte-level BPE writes tokens in an alphabet of its own.
            [id] if !self.is_byte(id) && self.decode(&ids)? == text => Some(id),
            _ => None,
        })
    }

    fn with_token(self, text: &str) -> Result<Self, TokenizerError> {
        let refused =
            |problem: &str| TokenizerError::Text(format!("the token `{text}`: {problem}"));
        if text.is_empty() {
            return Err(refused("it is empty"));
        }
        let id = self.vocab_size() as u32;
        let added = match &self.model {
            Model::HuggingFace(model) => Self::of_json(model, text, id)?,
            Model::SentencePiece(_) => self.of_pieces(text)?,
        };
        match added.id(text)? {
            Some(found) if found == id => Ok(added),
            _ => Err(refused("the tokenizer changes it before it looks for tokens")),
        }
    }

    fn of_json(model: &HuggingFace, text: &str, id: u32) -> Result<Self, TokenizerError> {
        let mut file = model.json()?;
        if is_character(text) && file["model"]["byte_fallback"] == true {
            file["model"]["vocab"][text] = json!(id);
        } else if let Some(added) = file["added_tokens"].as_array_mut() {
            added.push(json!({
                "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": false,
            }));
        }
        let model = HuggingFace::read(file.to_string().as_bytes(), model.config().clone());
        let model = model.map_err(TokenizerError::Text)?;
        let special = model.special_ids().map_err(TokenizerError::Text)?;
        Ok(Self::new(Model::HuggingFace(Box::new(model)), special))
    }

    fn of_pieces(&self, text: &str) -> Result<Self, TokenizerError> {
        let mut vocabulary = self.vocabulary()?;
        debug_assert!(matches!(vocabulary.algorithm, Algorithm::Scored { .. }));
        let lowest = vocabulary.pieces.iter().map(|(_, score, _)| *score).fold(0.0, f32::min);
        let kind = if is_character(text) { PieceKind::Normal } else { PieceKind::UserDefined };
        vocabulary.pieces.push((text.to_owned(), lowest - 1.0, kind));
        let special = SpecialTokens {
            bos: self.bos(),
            eos: self.eos(),
            unknown: Some(self.pad()),
            padding: Some(self.pad()),
            add_bos: true,
        };
        Self::from_vocabulary(&vocabulary, &special)
    }
}

fn is_character(text: &str) -> bool {
    text.chars().nth(1).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained() -> Tokenizer {
        let texts = ["the cat sat on the mat", "a cat and \"a mat\""];
        Tokenizer::train(texts.iter().cycle().take(60), 290).unwrap()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_character_becomes_a_piece_and_a_longer_text_is_matched_first() {
        let before = trained();
        let plain = before.encode_segment("the cat sat").unwrap();
        let size = before.vocab_size() as u32;
        let tokenizer = before.with_tokens(&texts(&["[", "]", "the", "<tool>", "["])).unwrap();
        // `the` is a token already, and `[` is there once.
        assert_eq!(tokenizer.vocab_size() as u32, size + 3);
        assert_eq!(tokenizer.encode_segment("the cat sat").unwrap(), plain);
        let ids = tokenizer.encode_segment("[\"cat\"]<tool>").unwrap();
        let of = |id: u32| ids.iter().filter(|other| **other == id).count();
        assert_eq!([of(size), of(size + 1), of(size + 2)], [1, 1, 1]);
        assert_eq!(tokenizer.decode(&ids).unwrap(), "[\"cat\"]<tool>");
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save(folder.path()).unwrap();
        let again = Tokenizer::from_file(&crate::tokenizer_in(folder.path())).unwrap();
        assert_eq!(again.encode_segment("[\"cat\"]<tool>").unwrap(), ids);
    }

    #[test]
    fn a_sentencepiece_model_gets_tokens_too() {
        let special =
            SpecialTokens { bos: 1, eos: 2, unknown: Some(0), padding: None, add_bos: true };
        let model = Tokenizer::from_vocabulary(&trained().vocabulary().unwrap(), &special).unwrap();
        assert!(matches!(model.model, Model::SentencePiece(_)));
        let size = model.vocab_size() as u32;
        let tokenizer = model.with_tokens(&texts(&["[", "<tool>"])).unwrap();
        let ids = tokenizer.encode_segment("[a<tool>").unwrap();
        assert!(ids.contains(&size) && ids.contains(&(size + 1)), "{ids:?}");
        assert_eq!([tokenizer.bos(), tokenizer.eos(), tokenizer.pad()], [1, 2, 0]);
    }

    #[test]
    fn a_text_that_the_tokenizer_changes_is_refused() {
        let error = trained().with_tokens(&texts(&[""])).unwrap_err().to_string();
        assert!(error.contains("it is empty"), "{error}");
        let error = trained().with_tokens(&texts(&[" "])).unwrap_err().to_string();
        assert!(error.contains("the token ` `: the tokenizer changes it"), "{error}");
    }
}
