//! `--show-mask`: encoded conversations with what is trained on made visible.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

use anyhow::Result;
use uner_prompt::{Tokenizer, Tokens};

use crate::assemble;
use crate::plan::Plan;

/// How trained tokens are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Green.
    Colour,
    /// In brackets: `⟦…⟧`, which no template has.
    Brackets,
}

pub(crate) fn show(plan: &Plan, count: usize, out: &mut dyn Write) -> Result<()> {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style = if plain || !std::io::stdout().is_terminal() { Style::Brackets } else { Style::Colour };
    let (tokenizer, conversations) = assemble::first(plan, count)?;
    for (index, tokens) in conversations.iter().enumerate() {
        let (total, trained) = (tokens.ids.len(), tokens.num_trained());
        writeln!(out, "conversation {index}: {total} tokens, {trained} trained on")?;
        writeln!(out, "{}\n", paint(tokens, &tokenizer, style)?)?;
    }
    Ok(())
}

/// The tokens as text, runs of trained ones set apart, `⏎` for the end-of-sequence token.
fn paint(tokens: &Tokens, tokenizer: &Tokenizer, style: Style) -> Result<String> {
    let (before, after) = match style {
        Style::Colour => ("\x1b[32m", "\x1b[0m"),
        Style::Brackets => ("⟦", "⟧"),
    };
    let pairs: Vec<(u32, bool)> = tokens.ids.iter().copied().zip(tokens.loss_mask.iter().copied()).collect();
    let mut text = String::new();
    for run in pairs.chunk_by(|a, b| a.1 == b.1) {
        let mut piece = String::new();
        for turn in run.split_inclusive(|(id, _)| *id == tokenizer.eos()) {
            let ids: Vec<u32> = turn.iter().map(|(id, _)| *id).collect();
            let end = if ids.last() == Some(&tokenizer.eos()) { "⏎" } else { "" };
            let _ = write!(piece, "{}{end}", tokenizer.decode(&ids)?);
        }
        let trained = run.first().is_some_and(|(_, trained)| *trained);
        let _ = if trained { write!(text, "{before}{piece}{after}") } else { write!(text, " {piece} ") };
    }
    Ok(text.trim().to_owned())
}
