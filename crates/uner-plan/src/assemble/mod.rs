//! Builds the training data of a plan: from datasets to encoded conversations.
//!
//! ```text
//! datasets ──► examples        uner_data::mix
//!          ──► + absent types  negatives
//!          ──► conversations   prompt::ner
//!          ──► token ids, mask prompt::encode, on all cores
//!              (or, for a span head: passages read twice, and tags)
//!          ──► store on disk   trainer::store
//! ```
//!
//! Only two chunks of examples, and the counts of entity types, are in memory at a time.

mod chunks;
mod negatives;
mod spans;
mod vocabulary;

use spans::{Lost, SpanExample};
use vocabulary::tokenizer;

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use uner_data::{Example, Member, Notes, SeenMentions, TypeCounts, TypeInventory, mix};
use uner_infer::{Generator, Predictor};
use uner_model::{Llama, LlamaConfig};
use uner_prompt::conversation::text;
use uner_prompt::{
    Conversation, Message, PromptError, Template, Tokenizer, Tokens, TwiceEncoder, decode, encode,
    mission, render,
};
use uner_trainer::data::store::StoreWriter;
use uner_trainer::{TokenStore, TrainError};

use crate::Sources;
use crate::recipe::LongPassages;
use chunks::in_chunks;
use negatives::{AbsentTypes, Negatives};

/// The data that a run trains on, and its tokenizer.
#[derive(Debug)]
pub struct Assembled {
    /// The tokenizer of the plan, or a trained one.
    pub tokenizer: Tokenizer,
    /// The model's dimensions, with the tokenizer's special tokens.
    pub config: LlamaConfig,
    /// Ids of the tokens that the recipe adds to the vocabulary of its model; empty for a run that
    /// is resumed.
    pub added_tokens: Range<usize>,
    /// Encoded conversations to train on.
    pub train: TokenStore,
    /// Encoded conversations for the validation loss.
    pub validation: Option<TokenStore>,
    /// The mentions of the training data; empty if no benchmark needs them.
    pub seen: SeenMentions,
    /// The entity types of the training data, from frequent to rare.
    pub types: TypeInventory,
}

impl Assembled {
    /// A predictor that queries a model of the run in the format it is trained on.
    ///
    /// # Errors
    /// The model's chat template ends an answer with no special token.
    pub fn predictor<'a>(
        &'a self,
        model: &'a Llama,
        sources: &'a Sources,
    ) -> Result<Predictor<'a>, PromptError> {
        let generator = Generator { model, config: &self.config };
        Predictor::new(generator, &self.tokenizer, &sources.template, sources.recipe.infer)
    }
}

/// An example with the name of its dataset and its absent types.
struct Questioned {
    dataset: String,
    example: Example,
}

impl Questioned {
    fn conversation(&self, template: &Template) -> Conversation {
        mission::conversation(&self.example, template, Some(&self.dataset))
    }
}

/// Reads, encodes and stores the data of a plan. The files of the stores are in `scratch`. The
/// tokenizer `at_hand` replaces that of the plan.
///
/// # Errors
/// Names the file and line of data that cannot be read, or does not fit the recipe.
pub fn assemble(
    sources: &Sources,
    scratch: &Path,
    at_hand: Option<Tokenizer>,
) -> Result<Assembled> {
    let negatives = Negatives::of(sources)?;
    let (tokenizer, added_tokens) = match at_hand {
        Some(tokenizer) => (tokenizer, 0..0),
        None => tokenizer(sources, &negatives)?,
    };
    let config = with_special_tokens(sources, &tokenizer)?;
    let twice = config.span_head.then(|| TwiceEncoder::new(&tokenizer)).transpose()?;
    if twice.is_none() {
        warn_of_changed_text(&tokenizer, &sources.template)?;
        warn_of_changed_data(sources, &negatives, &tokenizer).context("training data")?;
    }
    let encoder = Encoder { sources, tokenizer: &tokenizer, twice: twice.as_ref(), scratch };
    let mut seen = SeenMentions::default();
    let is_measured = !sources.recipe.eval.benchmarks.is_empty();
    let mut types = TypeCounts::default();
    let note = |example: &Example| {
        types.add(example);
        if is_measured {
            seen.add(example);
        }
    };
    let train = encoder.store(&sources.recipe.data.train, &negatives.train, note);
    let train = train.context("training data")?;
    let validation = &sources.recipe.data.validation;
    let validation = if validation.is_empty() {
        None
    } else {
        Some(encoder.store(validation, &negatives.validation, |_| {}).context("validation data")?)
    };
    let types = TypeInventory::new(&types);
    Ok(Assembled { tokenizer, config, added_tokens, train, validation, seen, types })
}

/// Encodes the first conversations of a plan's training data.
///
/// # Errors
/// As [`assemble`].
pub fn first(sources: &Sources, count: usize) -> Result<(Tokenizer, Vec<Tokens>)> {
    anyhow::ensure!(
        !sources.model.config.span_head,
        "a span head is not trained on conversations: there are none to show"
    );
    let negatives = Negatives::of(sources)?;
    let (tokenizer, _) = tokenizer(sources, &negatives)?;
    let examples = examples(sources, &sources.recipe.data.train, &negatives.train, |_| {})?;
    let tokens = examples.take(count).map(|questioned| {
        Ok(encode(&questioned?.conversation(&sources.template), &sources.template, &tokenizer)?)
    });
    let tokens = tokens.collect::<Result<_>>()?;
    Ok((tokenizer, tokens))
}

/// The examples of a mixture, with queries for absent types. `at_end` gets the notes about data
/// that could not be represented exactly.
fn examples<'a>(
    sources: &'a Sources,
    members: &[Member],
    absent: &'a AbsentTypes,
    at_end: fn(&Notes),
) -> Result<impl Iterator<Item = Result<Questioned>> + Send + use<'a>> {
    let mixture = mix(members, &sources.recipe.data.root, sources.recipe.run.seed)?;
    let names: Vec<String> = mixture.datasets().map(|dataset| dataset.name.clone()).collect();
    Ok(Noted { mixture, at_end }.zip(0..).map(move |(item, index)| {
        let (member, mut example) = item?;
        absent.add(&mut example, member, index);
        Ok(Questioned { dataset: names[member].clone(), example })
    }))
}

/// A mixture that calls `at_end` with its notes after the last example.
struct Noted {
    mixture: uner_data::Mixture,
    at_end: fn(&Notes),
}

impl Iterator for Noted {
    type Item = Result<(usize, Example), uner_data::DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.mixture.next();
        if item.is_none() {
            (self.at_end)(&self.mixture.notes());
        }
        item
    }
}

/// Encodes a mixture into a store.
struct Encoder<'a> {
    sources: &'a Sources,
    tokenizer: &'a Tokenizer,
    /// If the model has a span head.
    twice: Option<&'a TwiceEncoder>,
    scratch: &'a Path,
}

/// An example as the model trains on it.
enum Encoded {
    Conversation(Tokens),
    Spans(SpanExample),
}

impl Encoder<'_> {
    fn store(
        &self,
        members: &[Member],
        absent: &AbsentTypes,
        mut note: impl FnMut(&Example),
    ) -> Result<TokenStore> {
        let mut writer = StoreWriter::new(self.scratch, self.sources.recipe.train.max_seq_len)?;
        let (mut num_long, mut lost) = (0, Lost::default());
        let encode = |chunk: &[Questioned]| -> Vec<Result<Encoded, PromptError>> {
            chunk.par_iter().map(|questioned| self.encode(questioned)).collect()
        };
        in_chunks(
            examples(self.sources, members, absent, log_notes)?,
            encode,
            |questioned, encoded| {
                note(&questioned.example);
                let pushed = encoded.map_err(TrainError::from).and_then(|encoded| match encoded {
                    Encoded::Conversation(tokens) => writer.push(&tokens),
                    Encoded::Spans(example) => {
                        lost.add(example.lost);
                        writer.push_spans(&example.ids, &example.spans)
                    }
                });
                match (pushed, self.sources.recipe.data.long_passages) {
                    (Err(TrainError::Prompt(PromptError::TooLong { .. })), LongPassages::Drop) => {
                        num_long += 1;
                    }
                    (pushed, _) => {
                        pushed.with_context(|| format!("example `{}`", questioned.example.id))?;
                    }
                }
                Ok(())
            },
        )?;
        if num_long > 0 {
            tracing::warn!(
                "{num_long} passages are longer than `train.max_seq_len` and were left out"
            );
        }
        lost.to_string().lines().for_each(|problem| tracing::warn!("{problem}"));
        let store = writer.finish()?;
        let summary = store.summary();
        for (count, what) in [
            (
                summary.overlong_queries,
                "queries do not fit after their passage, even alone, and were left out",
            ),
            (summary.untrained, "conversations have nothing to train on and were left out"),
        ] {
            if count > 0 {
                tracing::warn!("{count} {what}");
            }
        }
        Ok(store)
    }

    fn encode(&self, questioned: &Questioned) -> Result<Encoded, PromptError> {
        if let Some(twice) = self.twice {
            return spans::encode(&questioned.example, twice, self.tokenizer).map(Encoded::Spans);
        }
        let template = &self.sources.template;
        let conversation = questioned.conversation(template);
        encode(&conversation, template, self.tokenizer).map(Encoded::Conversation)
    }
}

/// Logs the notes of a reader, one line for each kind.
pub fn log_notes(notes: &Notes) {
    for line in notes.to_string().lines() {
        tracing::info!("data: {line}");
    }
}

/// A temporary folder for encoded data.
///
/// # Errors
/// When it cannot be created.
pub fn scratch() -> Result<tempfile::TempDir> {
    let folder = std::env::temp_dir();
    tempfile::tempdir_in(&folder).with_context(|| {
        format!(
            "the encoded data cannot be written to `{}`; set `TMPDIR` to a folder with room",
            folder.display()
        )
    })
}

/// Warns of a tokenizer that changes the template's text. Small vocabularies without byte pieces
/// may lack characters of every answer, and word tokenizers drop blanks. Training continues,
/// because mentions can still be learnt, but a score of 0 should not come as a surprise.
fn warn_of_changed_text(tokenizer: &Tokenizer, template: &Template) -> Result<()> {
    // The text of a chat template is only known once it is encoded.
    if template.chat_template.is_some() {
        return Ok(());
    }
    let messages = [
        "passage",
        "reply",
        "question",
        &uner_prompt::answer(&["x", "y"], template.answer_characters),
    ];
    let message = |(turn, text): (usize, &&str)| {
        if turn.is_multiple_of(2) { Message::user(*text) } else { Message::assistant(*text) }
    };
    let conversation =
        Conversation { messages: messages.iter().enumerate().map(message).collect() };
    let mut segments = render(&conversation, template)?;
    if template.trailing_space_token {
        // Adds the blanks that such a template leaves to SentencePiece.
        for index in (1..segments.len())
            .filter(|&index| !segments[index - 1].end_of_turn)
            .collect::<Vec<_>>()
        {
            segments[index].text.insert(0, ' ');
        }
    }
    let written = text(&segments);
    let read_back =
        text(&decode(&encode(&conversation, template, tokenizer)?, template, tokenizer)?);
    if read_back != written {
        tracing::warn!(
            "the tokenizer changes the text of the template: `{written}` reads back as `{read_back}`, which is what the model \
             sees. If brackets or quotes are missing, the official score, which requires them, will be 0; strict and partial \
             scores do not require them"
        );
    }
    Ok(())
}

/// Warns of a tokenizer that changes the first training conversations: their language may have
/// characters without a token.
fn warn_of_changed_data(
    sources: &Sources,
    negatives: &Negatives,
    tokenizer: &Tokenizer,
) -> Result<()> {
    const LOOKED_AT: usize = 100;
    let template = &sources.template;
    if template.trailing_space_token || template.chat_template.is_some() {
        return Ok(());
    }
    let (mut looked_at, mut changed, mut first) = (0, 0, None);
    for questioned in
        examples(sources, &sources.recipe.data.train, &negatives.train, |_| {})?.take(LOOKED_AT)
    {
        let conversation = questioned?.conversation(template);
        let written = text(&render(&conversation, template)?);
        let read_back =
            text(&decode(&encode(&conversation, template, tokenizer)?, template, tokenizer)?);
        looked_at += 1;
        if written != read_back {
            changed += 1;
            let start = written
                .chars()
                .zip(read_back.chars())
                .take_while(|(a, b)| a == b)
                .count()
                .saturating_sub(10);
            let part = |text: &str| text.chars().skip(start).take(40).collect::<String>();
            first.get_or_insert_with(|| (part(&written), part(&read_back)));
        }
    }
    if let Some((written, read_back)) = first {
        tracing::warn!(
            "the tokenizer changes the text of {changed} of the first {looked_at} conversations: `{written}` reads back as `{read_back}`, \
             which is what the model sees; choose a model whose tokenizer covers the language"
        );
    }
    Ok(())
}

/// The dimensions with the tokenizer's special tokens.
fn with_special_tokens(sources: &Sources, tokenizer: &Tokenizer) -> Result<LlamaConfig> {
    let config = &sources.model.config;
    let ids = tokenizer.vocab_size();
    let grows = !sources.recipe.model.add_tokens.is_empty();
    let rows = if grows { config.vocab_size.max(ids) } else { config.vocab_size };
    anyhow::ensure!(
        ids <= rows,
        "the tokenizer's vocabulary is larger than the embedding: {ids} ids, but `vocab_size` of the model is {rows}; \
         set `model.tokenizer` to the tokenizer that belongs to the weights, or give random weights a `model.config` \
         with that many rows"
    );
    let (bos, pad) = (tokenizer.bos(), tokenizer.pad());
    let mut eos_token_id = vec![sources.template.end_of_turn(tokenizer)?, tokenizer.eos()];
    eos_token_id.dedup();
    Ok(LlamaConfig {
        vocab_size: rows,
        bos_token_id: Some(bos),
        eos_token_id,
        pad_token_id: Some(pad),
        ..config.clone()
    })
}
