//! Words, their BIO tags, and the pieces of a word that the encoder reads.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use indexmap::IndexSet;
use tokenizers::{EncodeInput, InputSequence, Tokenizer};
use uner_data::{Example, Span};
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_trainer::data::sequence::Sequence;

/// The class of a word outside of all entities.
const OUTSIDE: i32 = 0;

/// A word: a run of characters that are not white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// Characters of the text.
    pub(super) span: Span,
}

/// The words of a text. Files in columns have a blank between any two tokens, so that words are
/// their tokens.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start: Option<(usize, usize)> = None;
    let end = [(text.len(), ' ')];
    for (index, (byte, character)) in text.char_indices().chain(end).enumerate() {
        match (character.is_whitespace(), start) {
            (false, None) => start = Some((index, byte)),
            (true, Some((first, from))) => {
                words.push(Word {
                    text: &text[from..byte],
                    span: Span { start: first, end: index },
                });
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// The entity types of a classifier. Class 0 is `O`; type *n* has the classes 2*n* + 1 (`B-`) and
/// 2*n* + 2 (`I-`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TagSet(IndexSet<String>);

/// Entities that tags cannot represent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// They begin or end within a word; the whole word is tagged.
    pub(super) cut_words: usize,
    /// They overlap an earlier entity, or have no position; they are left out.
    pub(super) overlapping: usize,
}

impl TagSet {
    pub(super) fn add(&mut self, entity_type: &str) {
        self.0.insert(entity_type.to_owned());
    }

    /// The tags in the order of their classes.
    pub(super) fn labels(&self) -> Vec<String> {
        let of_type = |name: &String| [format!("B-{name}"), format!("I-{name}")];
        std::iter::once("O".to_owned()).chain(self.0.iter().flat_map(of_type)).collect()
    }

    /// Reads the types of [`TagSet::labels`].
    pub(super) fn of_labels(labels: &[String]) -> Result<Self> {
        let begins = labels.iter().filter_map(|label| label.strip_prefix("B-"));
        let found = Self(begins.map(str::to_owned).collect());
        ensure!(
            found.labels() == labels,
            "the labels of the classifier are {labels:?}, not `O` and `B-type`, `I-type` in turn: \
             uner did not train it"
        );
        Ok(found)
    }

    /// The class of every word of an example.
    pub(super) fn classes(&self, example: &Example, words: &[Word], lost: &mut Lost) -> Vec<i32> {
        let mut classes = vec![OUTSIDE; words.len()];
        for entity in &example.entities {
            let Some(span) = entity.span else {
                lost.overlapping += 1;
                continue;
            };
            let first = words.partition_point(|word| word.span.end <= span.start);
            let end = words.partition_point(|word| word.span.start < span.end);
            let found = self.0.get_index_of(&entity.entity_type);
            let is_free = classes[first..end].iter().all(|&class| class == OUTSIDE);
            let Some(entity_type) = found.filter(|_| first < end && is_free) else {
                lost.overlapping += 1;
                continue;
            };
            let exact = (words[first].span.start, words[end - 1].span.end);
            lost.cut_words += usize::from(exact != (span.start, span.end));
            let begin = 2 * entity_type as i32 + 1;
            classes[first..end].fill(begin + 1);
            classes[first] = begin;
        }
        classes
    }

    /// The entities of classes: type and range of words. `I-` after anything but its own type
    /// begins an entity, as in the default mode of seqeval.
    pub(super) fn entities(&self, classes: &[i32]) -> Vec<(&str, std::ops::Range<usize>)> {
        let mut entities: Vec<(&str, std::ops::Range<usize>)> = Vec::new();
        let mut open = None;
        for (word, &class) in classes.iter().enumerate() {
            let entity_type = (class != OUTSIDE).then(|| (class as usize - 1) / 2);
            let is_inside = class != OUTSIDE && class % 2 == 0;
            match (entity_type, entities.last_mut()) {
                (Some(_), Some((_, range))) if is_inside && open == entity_type => {
                    range.end = word + 1;
                }
                (Some(index), _) => {
                    let name = self.0.get_index(index).expect("a class of this set");
                    entities.push((name, word..word + 1));
                }
                (None, _) => {}
            }
            open = entity_type;
        }
        entities
    }
}

/// Consecutive words of a text that the encoder reads together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// `[CLS]`, the pieces, `[SEP]`.
    pub(super) ids: Vec<u32>,
    /// The word and the index of its first piece, for each word that has pieces.
    pub(super) firsts: Vec<(usize, usize)>,
}

impl Window {
    /// The window with the classes of its words. Only the first piece of a word carries loss.
    pub(super) fn classified(&self, classes: &[i32]) -> Sequence {
        let mut labels = vec![IGNORE_INDEX; self.ids.len()];
        for &(word, index) in &self.firsts {
            labels[index] = classes[word];
        }
        Sequence::new(self.ids.clone(), labels)
    }
}

/// Splits words into pieces.
#[derive(Debug)]
pub(super) struct Encoder {
    tokenizer: Tokenizer,
    start: u32,
    end: u32,
    max_len: usize,
}

impl Encoder {
    /// Reads `tokenizer.json` of a model's folder. Windows have at most `max_len` tokens.
    pub(super) fn open(folder: &Path, max_len: usize) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let problem = |error| anyhow!("`{}`: {error}", path.display());
        let mut tokenizer = Tokenizer::from_file(&path).map_err(problem)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(problem)?;
        let special = |token: &str| {
            tokenizer.token_to_id(token).with_context(|| {
                format!("`{}` has no `{token}`: it is not a tokenizer of BERT", path.display())
            })
        };
        let (start, end) = (special("[CLS]")?, special("[SEP]")?);
        ensure!(max_len > 2, "`train.max_seq_len` is {max_len}; a word needs at least 3 tokens");
        Ok(Self { tokenizer, start, end, max_len })
    }

    /// The windows of a text: as many whole words in each as fit. The pieces of a word that is
    /// longer than a window are cut.
    pub(super) fn windows(&self, words: &[Word]) -> Result<Vec<Window>> {
        let texts: Vec<&str> = words.iter().map(|word| word.text).collect();
        let input = EncodeInput::Single(InputSequence::from(texts));
        let encoding = self.tokenizer.encode(input, false).map_err(anyhow::Error::msg)?;
        let pieces: Vec<(u32, u32)> = encoding
            .get_ids()
            .iter()
            .zip(encoding.get_word_ids())
            .filter_map(|(&id, word)| Some((id, (*word)?)))
            .collect();
        let room = self.max_len - 2;
        let mut windows = Vec::new();
        let mut window = self.empty();
        for of_word in pieces.chunk_by(|a, b| a.1 == b.1) {
            let kept = &of_word[..of_word.len().min(room)];
            if window.ids.len() - 1 + kept.len() > room {
                windows.push(self.closed(std::mem::replace(&mut window, self.empty())));
            }
            window.firsts.push((kept[0].1 as usize, window.ids.len()));
            window.ids.extend(kept.iter().map(|(id, _)| id));
        }
        windows.push(self.closed(window));
        windows.retain(|window| !window.firsts.is_empty());
        Ok(windows)
    }

    fn empty(&self) -> Window {
        Window { ids: vec![self.start], firsts: Vec::new() }
    }

    fn closed(&self, mut window: Window) -> Window {
        window.ids.push(self.end);
        window
    }
}

#[cfg(test)]
mod tests {
    use uner_data::Entity;

    use super::*;

    fn example(text: &str, entities: &[(usize, usize, &str)]) -> Example {
        let entity = |&(start, end, entity_type): &(usize, usize, &str)| Entity {
            text: text.chars().skip(start).take(end - start).collect(),
            entity_type: entity_type.to_owned(),
            span: Some(Span { start, end }),
        };
        Example::new("x".to_owned(), text.to_owned(), entities.iter().map(entity).collect())
    }

    #[test]
    fn words_are_separated_by_any_white_space() {
        let text = " Zoë\u{a0}saw\t\n東京 .";
        let found = words(text);
        let texts: Vec<&str> = found.iter().map(|word| word.text).collect();
        assert_eq!(texts, ["Zoë", "saw", "東京", "."]);
        let characters: Vec<char> = text.chars().collect();
        for word in found {
            let slice: String = characters[word.span.start..word.span.end].iter().collect();
            assert_eq!(slice, word.text);
        }
        assert!(words(" \n").is_empty());
    }

    #[test]
    fn tags_become_the_entities_again() {
        let mut tags = TagSet::default();
        tags.add("person");
        tags.add("city");
        assert_eq!(tags.labels(), ["O", "B-person", "I-person", "B-city", "I-city"]);
        assert_eq!(TagSet::of_labels(&tags.labels()).unwrap(), tags);
        assert!(TagSet::of_labels(&["O".to_owned(), "I-x".to_owned()]).is_err());

        let text = "Ada Lee saw Rome Oslo .";
        let example = example(text, &[(0, 7, "person"), (12, 16, "city"), (17, 21, "city")]);
        let (words, mut lost) = (words(text), Lost::default());
        let classes = tags.classes(&example, &words, &mut lost);
        assert_eq!(classes, [1, 2, 0, 3, 3, 0]);
        assert_eq!(tags.entities(&classes), [("person", 0..2), ("city", 3..4), ("city", 4..5)]);
        assert_eq!(lost, Lost::default());
        assert_eq!(
            tags.entities(&[2, 2, 4, 0, 2]),
            [("person", 0..2), ("city", 2..3), ("person", 4..5)]
        );
    }

    #[test]
    fn entities_that_tags_cannot_represent_are_counted() {
        let mut tags = TagSet::default();
        tags.add("city");
        let text = "in Rome-Oslo today";
        let example = example(text, &[(3, 7, "city"), (8, 12, "city"), (0, 2, "river")]);
        let mut lost = Lost::default();
        let classes = tags.classes(&example, &words(text), &mut lost);
        assert_eq!(classes, [0, 1, 0]);
        assert_eq!(lost, Lost { cut_words: 1, overlapping: 2 });
    }
}
