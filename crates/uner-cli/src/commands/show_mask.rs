//! `--show-mask`: prints encoded conversations with the trained tokens marked.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use uner_data::printable;
use uner_prompt::conversation::text;
use uner_prompt::{Segment, Template, Tokenizer, Tokens, decode};

use uner_plan::Sources;
use uner_plan::assemble;

/// How trained tokens are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Green.
    Colour,
    /// In the brackets `⟦…⟧`, which no template has.
    Brackets,
}

pub(crate) fn show(sources: &Sources, count: usize, out: &mut dyn Write) -> Result<()> {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style =
        if plain || !std::io::stdout().is_terminal() { Style::Brackets } else { Style::Colour };
    let (tokenizer, conversations) = assemble::first(sources, count)?;
    for (index, tokens) in conversations.iter().enumerate() {
        let (total, trained) = (tokens.ids.len(), tokens.num_trained());
        writeln!(out, "conversation {index}: {total} tokens, {trained} trained on")?;
        let painted = paint(tokens, &sources.template, &tokenizer, style)?;
        // Not to `out`, which would escape the colours.
        writeln!(std::io::stdout(), "{painted}\n")?;
    }
    Ok(())
}

/// The tokens as text, with trained tokens marked, and `⏎` for the end-of-sequence token.
fn paint(
    tokens: &Tokens,
    template: &Template,
    tokenizer: &Tokenizer,
    style: Style,
) -> Result<String> {
    let (before, after) = match style {
        Style::Colour => ("\x1b[32m", "\x1b[0m"),
        Style::Brackets => ("⟦", "⟧"),
    };
    let segments = decode(tokens, template, tokenizer)?;
    let paint = |segment: Segment| {
        let piece = printable(&text(std::slice::from_ref(&segment)));
        if segment.trained { format!("{before}{piece}{after}") } else { piece }
    };
    Ok(segments.into_iter().map(paint).collect())
}
