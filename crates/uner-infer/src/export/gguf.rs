//! The tokenizer of a GGUF file.

use uner_model::gguf::{TokenKind, Vocabulary};
use uner_prompt::{PieceKind, PromptError, ScoredVocabulary, Tokenizer};

/// The vocabulary of a LLaMA-style (SentencePiece) tokenizer, with the chat template.
pub(super) fn vocabulary(
    tokenizer: &Tokenizer,
    chat_template: Option<String>,
) -> Result<Vocabulary, PromptError> {
    let ScoredVocabulary { pieces, space_prefix } = tokenizer.scored_vocabulary()?;
    let unknown =
        pieces.iter().position(|(_, _, kind)| *kind == PieceKind::Unknown).map(|id| id as u32);
    let tokens =
        pieces.into_iter().map(|(text, score, kind)| (text, score, token_kind(kind))).collect();
    Ok(Vocabulary {
        tokens,
        bos: Some(tokenizer.bos()),
        eos: Some(tokenizer.eos()),
        unknown,
        padding: Some(tokenizer.pad()),
        space_prefix,
        chat_template,
    })
}

fn token_kind(kind: PieceKind) -> TokenKind {
    match kind {
        PieceKind::Normal => TokenKind::Normal,
        PieceKind::Unknown => TokenKind::Unknown,
        PieceKind::Control => TokenKind::Control,
        PieceKind::UserDefined => TokenKind::UserDefined,
        PieceKind::Byte => TokenKind::Byte,
    }
}
