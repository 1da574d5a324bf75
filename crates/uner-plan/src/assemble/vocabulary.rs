//! The tokenizer of a run.

use std::ops::Range;

use anyhow::{Context as _, Result};
use uner_prompt::{Tokenizer, render};

use super::{Negatives, examples};
use crate::Sources;

/// The plan's tokenizer with the recipe's additional tokens, and the ids of those.
pub(crate) fn tokenizer(
    sources: &Sources,
    negatives: &Negatives,
) -> Result<(Tokenizer, Range<usize>)> {
    let tokenizer = original(sources, negatives)?;
    let before = tokenizer.vocab_size();
    let tokenizer = tokenizer.with_tokens(&sources.recipe.model.add_tokens);
    let tokenizer = tokenizer.context("`model.add_tokens`")?;
    let added = before..tokenizer.vocab_size();
    Ok((tokenizer, added))
}

/// Reads the plan's tokenizer, or trains one on all text that the model will see: the segments of
/// the training conversations. The template's words and the answers' brackets then get pieces, too.
fn original(sources: &Sources, negatives: &Negatives) -> Result<Tokenizer> {
    if let Some(file) = &sources.model.tokenizer {
        return Tokenizer::from_file(file)
            .with_context(|| format!("tokenizer `{}`", file.display()));
    }
    let mut problem = None;
    let conversations = examples(sources, &sources.recipe.data.train, &negatives.train, |_| {})?
        .map_while(|questioned| {
            let segments = questioned.and_then(|questioned| {
                Ok(render(&questioned.conversation(&sources.template), &sources.template)?)
            });
            segments.map_err(|error| problem = Some(error)).ok()
        });
    // The trained tokenizer puts a blank before a text, so a segment's own blank is removed.
    let texts = conversations
        .flatten()
        .map(|segment| segment.text.strip_prefix(' ').unwrap_or(&segment.text).to_owned());
    let trained = Tokenizer::train(texts, sources.model.config.vocab_size);
    match problem {
        Some(problem) => Err(problem.context("training data")),
        None => trained.context(
            "cannot train a tokenizer on the training data (`model.tokenizer`, `vocab_size`)",
        ),
    }
}
