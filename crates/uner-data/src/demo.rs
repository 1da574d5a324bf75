//! A synthetic corpus that lets a first run train, evaluate and predict without any download.
//!
//! Sentences of four domains are filled with made-up names of seven entity types. Names may nest
//! ("University of Calford" contains a city), some people share a city's name, and many capitalised
//! words are not entities. About half of the mentions in the validation and test splits never occur
//! in training, so a model must learn to copy names from their context. The corpus shows that a
//! pipeline works, not how good a model is on real text.

mod names;
mod sentences;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::{Entity, Example, Span};
use names::{Pool, SLOTS, Slot};

/// Every entity type of the corpus.
pub const ENTITY_TYPES: [&str; 7] =
    ["person", "city", "organization", "medication", "medical condition", "song", "product"];

/// The share of mentions in the validation and test splits that are drawn from names held out of
/// training.
const HELD_OUT_SHARE: f64 = 0.5;

/// An error of [`examples`].
#[derive(Debug, Error)]
pub enum DemoError {
    /// The split does not exist.
    #[error("the demo corpus has no split `{0}`; it has `train`, `validation` and `test`")]
    UnknownSplit(String),
}

/// Generates the sentences of a split (`train` 26,000, `validation` 300, `test` 400). A seed gives
/// the same sentences on every machine. An example depends only on seed, split and index.
///
/// # Errors
/// [`DemoError::UnknownSplit`] for any other split.
pub fn examples(
    split: &str,
    seed: u64,
) -> Result<impl Iterator<Item = Example> + use<>, DemoError> {
    let (pool, name, num_examples) = match split {
        "train" => (Pool::Train, "train", 26_000),
        "validation" => (Pool::Validation, "validation", 300),
        "test" => (Pool::Test, "test", 400),
        _ => return Err(DemoError::UnknownSplit(split.to_owned())),
    };
    Ok((0..num_examples).map(move |index| {
        let rng = stream(seed, pool, index);
        let draft =
            Draft { pool, rng, text: String::new(), entities: Vec::new(), names: Vec::new() };
        draft.write(format!("{name}_{index}"))
    }))
}

/// The random stream of one example.
fn stream(seed: u64, pool: Pool, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((pool as u64) << 32 | index);
    rng
}

/// A sentence under construction. Its text is ASCII, so byte and character offsets are equal.
struct Draft {
    pool: Pool,
    rng: ChaCha8Rng,
    text: String,
    entities: Vec<Entity>,
    /// Made-up names used so far: none is used twice in a sentence.
    names: Vec<String>,
}

impl Draft {
    fn write(mut self, id: String) -> Example {
        let (_, sentences) = self.choose(sentences::DOMAINS);
        for pattern in [
            self.choose(sentences::OPENINGS),
            self.choose(sentences),
            self.choose(sentences::ENDINGS),
        ] {
            self.expand(pattern);
        }
        self.text.push('.');
        self.text[..1].make_ascii_uppercase();
        let mut queries: Vec<String> = Vec::new();
        for entity in &self.entities {
            if !queries.contains(&entity.entity_type) {
                queries.push(entity.entity_type.clone());
            }
        }
        Example { queries, ..Example::new(id, self.text, self.entities) }
    }

    fn choose<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.rng).expect("the lists of the demo corpus are not empty")
    }

    /// Appends a pattern with its `{slots}` filled and its `[wordings|variants]` chosen.
    fn expand(&mut self, pattern: &str) {
        let mut rest = pattern;
        while let Some(at) = rest.find(['{', '[']) {
            let close = if rest[at..].starts_with('{') { '}' } else { ']' };
            let (inside, after) =
                rest[at + 1..].split_once(close).expect("every bracket is closed");
            self.text.push_str(&rest[..at]);
            if close == '}' {
                self.fill(inside);
            } else {
                let variants: Vec<&str> = inside.split('|').collect();
                let variant = self.choose(&variants);
                self.text.push_str(variant);
            }
            rest = after;
        }
        self.text.push_str(rest);
    }

    fn fill(&mut self, name: &str) {
        if let Some(slot) = SLOTS.iter().find(|slot| slot.name == name) {
            let (made_up, form) = self.draw(slot);
            self.mention(slot.entity_type, form, &made_up);
            self.names.push(made_up);
        } else {
            let (_, words) = sentences::WORDS
                .iter()
                .find(|(list, _)| *list == name)
                .expect("every slot or word list exists");
            let word = self.choose(words);
            self.text.push_str(word);
        }
    }

    /// Draws a made-up name that the sentence does not use yet, with its wording.
    fn draw(&mut self, slot: &Slot) -> (String, &'static str) {
        let pool = if self.rng.random_bool(HELD_OUT_SHARE) { self.pool } else { Pool::Train };
        let mut names = slot.names(pool);
        names.retain(|(made_up, _)| !self.names.contains(made_up));
        names.swap_remove(self.rng.random_range(0..names.len()))
    }

    /// Appends a mention, and the city inside it if the form has one.
    fn mention(&mut self, entity_type: &str, form: &str, made_up: &str) {
        let start = self.text.len();
        let nested = form.split_once("{city}");
        let (before, after) =
            nested.or_else(|| form.split_once('*')).expect("every form has a place for the name");
        let full = format!("{before}{made_up}{after}");
        self.text.push_str(&full);
        self.entities.push(entity(&full, entity_type, start));
        if nested.is_some() {
            self.entities.push(entity(made_up, "city", start + before.len()));
        }
    }
}

fn entity(text: &str, entity_type: &str, start: usize) -> Entity {
    let span = Some(Span { start, end: start + text.len() });
    Entity { text: text.to_owned(), entity_type: entity_type.to_owned(), span }
}

#[cfg(test)]
mod tests;
