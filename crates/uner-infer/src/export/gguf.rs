//! The tokenizer of a GGUF file.

use uner_model::gguf::{Algorithm, TokenKind, Vocabulary};
use uner_prompt::{PieceKind, PromptError, Tokenizer};

/// The vocabulary of a tokenizer, with the chat template.
pub(super) fn vocabulary(
    tokenizer: &Tokenizer,
    chat_template: Option<String>,
) -> Result<Vocabulary, PromptError> {
    let uner_prompt::Vocabulary { pieces, algorithm } = tokenizer.vocabulary()?;
    let unknown =
        pieces.iter().position(|(_, _, kind)| *kind == PieceKind::Unknown).map(|id| id as u32);
    let tokens =
        pieces.into_iter().map(|(text, score, kind)| (text, score, token_kind(kind))).collect();
    Ok(Vocabulary {
        tokens,
        algorithm: match algorithm {
            uner_prompt::Algorithm::Scored { space_prefix } => Algorithm::Scored { space_prefix },
            uner_prompt::Algorithm::ByteLevel { pre_tokenizer, merges } => {
                Algorithm::ByteLevel { pre_tokenizer, merges }
            }
        },
        bos: Some(tokenizer.bos()),
        eos: Some(tokenizer.eos()),
        end_of_turn: None,
        unknown,
        padding: Some(tokenizer.pad()),
        // Prompts of our templates begin with it.
        add_bos: true,
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
