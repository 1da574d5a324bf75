//! The part of the work that does not depend on other documents: passages and their signatures.

use rayon::prelude::*;

use super::{
    cut::{Piece, Pieces, cut},
    duplicates::{Signature, Signer},
};
use crate::{
    DistillError,
    corpus::{CorpusDocument, Found},
};

/// Cuts documents, on all threads of rayon's pool.
pub(super) struct Cutter<F> {
    pub(super) fits: F,
    pub(super) min_characters: usize,
    pub(super) signer: Option<Signer>,
}

/// An item of a corpus after its passages are cut.
pub(super) enum Cut {
    Document { document: CorpusDocument, passages: Vec<(Piece, Option<Signature>)>, short: usize },
    Unreadable { subset: String, message: String },
}

impl<F: Fn(&str) -> bool + Sync> Cutter<F> {
    pub(super) fn cut_all(&self, chunk: Vec<Found>) -> Vec<Result<Cut, DistillError>> {
        chunk.into_par_iter().map(|found| self.cut(found)).collect()
    }

    fn cut(&self, found: Found) -> Result<Cut, DistillError> {
        let document = match found {
            Found::Document(document) => document,
            Found::Unreadable { subset, message } => {
                return Ok(Cut::Unreadable { subset, message });
            }
        };
        let pieces =
            cut(&document.text, &self.fits).map_err(|source| DistillError::NothingFits {
                subset: document.subset.clone(),
                document: document.id(),
                source,
            })?;
        let (long, short): (Pieces, Pieces) =
            pieces.into_iter().partition(|piece| piece.num_characters() >= self.min_characters);
        let sign = |piece: Piece| {
            let text = &document.text[piece.bytes.clone()];
            let signature = self.signer.as_ref().map(|signer| signer.sign(text));
            (piece, signature)
        };
        let passages = long.into_iter().map(sign).collect();
        Ok(Cut::Document { document, passages, short: short.len() })
    }
}
