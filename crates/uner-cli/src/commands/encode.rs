//! `uner data encode`: conversations to ids and labels, line by line.

use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use serde::Serialize;
use uner_data::regular;
use uner_prompt::{
    Conversation, IGNORE_INDEX, Template, Tokenizer, cut, encode, encode_prompt, fit,
};

use crate::args::data::EncodeArgs;
use uner_model::atomic;

/// Lines encoded together; only these are in memory.
const CHUNK: usize = 1_000;
/// `model_max_length` of the released training script.
const OFFICIAL_MAX_SEQ_LEN: usize = 1024;

/// A line of the output.
#[derive(Serialize)]
struct Encoded {
    ids: Vec<u32>,
    labels: Vec<i64>,
    #[serde(skip)]
    dropped_queries: usize,
}

/// Encodes conversations as the arguments say.
struct Encoder<'a> {
    template: Template,
    tokenizer: Tokenizer,
    args: &'a EncodeArgs,
}

pub(crate) fn run(args: &EncodeArgs) -> Result<()> {
    let template = Template::load(if args.official { "official" } else { &args.template })?
        .with_chat_of(std::path::absolute(&args.tokenizer)?.parent().unwrap_or(Path::new("")))?;
    if args.official && args.template != "official" {
        tracing::warn!("--official renders by the template `official`, not by `{}`", args.template);
    }
    let encoder = Encoder { template, tokenizer: Tokenizer::from_file(&args.tokenizer)?, args };
    let mut lines = BufReader::new(regular::open(&args.input)?).lines().zip(1..);
    let mut dropped_queries = 0;
    atomic::write::<anyhow::Error>(&args.output, |out| {
        loop {
            let chunk = read_chunk(&mut lines, &args.input)?;
            if chunk.is_empty() {
                return Ok(());
            }
            let encoded = chunk.par_iter().map(|(line, text)| {
                encoder.line(text).with_context(|| format!("{}:{line}", args.input.display()))
            });
            for encoded in encoded.collect::<Result<Vec<Encoded>>>()? {
                dropped_queries += encoded.dropped_queries;
                serde_json::to_writer(&mut *out, &encoded)?;
                out.write_all(b"\n")?;
            }
        }
    })?;
    if dropped_queries > 0 {
        tracing::warn!("{dropped_queries} queries did not fit --max-seq-len and were dropped");
    }
    Ok(())
}

/// The next lines that are not blank, with their numbers.
fn read_chunk(
    lines: &mut impl Iterator<Item = (std::io::Result<String>, usize)>,
    path: &Path,
) -> Result<Vec<(usize, String)>> {
    let mut chunk = Vec::new();
    for (text, line) in lines {
        let text = text.with_context(|| format!("{}:{line}", path.display()))?;
        if !text.trim().is_empty() {
            chunk.push((line, text));
        }
        if chunk.len() == CHUNK {
            break;
        }
    }
    Ok(chunk)
}

impl Encoder<'_> {
    fn line(&self, text: &str) -> Result<Encoded> {
        // Some editors write a byte order mark at the start of a file.
        let conversation: Conversation = serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .context(
                "not `{\"conversations\": [{\"from\": \"human\" or \"gpt\", \"value\": …}, …]}`",
            )?;
        if self.args.inference {
            let ids = encode_prompt(&conversation, &self.template, &self.tokenizer)?;
            return Ok(Encoded { labels: vec![IGNORE_INDEX; ids.len()], ids, dropped_queries: 0 });
        }
        let tokens = encode(&conversation, &self.template, &self.tokenizer)?;
        let (tokens, dropped_queries) = match (self.args.official, self.args.max_seq_len) {
            (true, limit) => (cut(tokens, limit.unwrap_or(OFFICIAL_MAX_SEQ_LEN)), 0),
            (false, None) => (tokens, 0),
            (false, Some(limit)) => {
                let fitted = fit(tokens, limit)?;
                (fitted.tokens, fitted.dropped_queries)
            }
        };
        Ok(Encoded { labels: tokens.labels(), ids: tokens.ids, dropped_queries })
    }
}
