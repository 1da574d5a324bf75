//! What can be read and trained on, and is probably a slip: spans that cut words, overlaps, names that differ in case only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{Example, Span, visible};

/// A kind of doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// A span that begins or ends between two letters or digits of one word.
    CutWord,
    /// An entity that shares characters with one before it.
    Overlap,
    /// A text of nothing but blanks.
    EmptyText,
    /// A type whose name is empty or blank.
    EmptyType,
    /// Types that differ in the case of letters only.
    AlikeTypes,
}

impl fmt::Display for Doubt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::CutWord => "spans that begin or end inside a word",
            Self::Overlap => "entities that overlap one before them",
            Self::EmptyText => "texts of nothing but blanks",
            Self::EmptyType => "entities or queries of a type without a name",
            Self::AlikeTypes => "types that differ in the case of letters only",
        })
    }
}

/// The doubts of a split: how often each kind, and the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubts {
    by_kind: BTreeMap<Doubt, (usize, String)>,
    types: BTreeSet<String>,
}

impl Doubts {
    /// Looks at an example.
    pub(crate) fn look(&mut self, example: &Example) {
        let characters: Vec<char> = example.text.chars().collect();
        if example.text.trim().is_empty() {
            self.add(Doubt::EmptyText, || example.id.clone());
        }
        let mut entities: Vec<_> =
            example.entities.iter().filter_map(|entity| Some((entity.span?, entity))).collect();
        entities.sort_by_key(|(span, _)| *span);
        let mut end = 0;
        for (span, entity) in entities {
            let place = || format!("`{}` in {}", entity.text, example.id);
            if cuts_word(&characters, span) {
                self.add(Doubt::CutWord, place);
            }
            if span.start < end {
                self.add(Doubt::Overlap, place);
            }
            end = end.max(span.end);
        }
        let names = example.entities.iter().map(|entity| &entity.entity_type).chain(&example.queries);
        for name in names {
            if name.trim().is_empty() {
                self.add(Doubt::EmptyType, || example.id.clone());
            }
            if !self.types.contains(name) {
                self.types.insert(name.clone());
            }
        }
    }

    /// Compares the types with each other, once all examples were looked at.
    pub(crate) fn finish(&mut self) {
        let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in std::mem::take(&mut self.types) {
            alike.entry(name.to_lowercase()).or_default().push(name);
        }
        for names in alike.into_values().filter(|names| names.len() > 1) {
            self.add(Doubt::AlikeTypes, || format!("`{}`", names.join("`, `")));
        }
    }

    fn add(&mut self, doubt: Doubt, place: impl FnOnce() -> String) {
        self.by_kind.entry(doubt).or_insert_with(|| (0, place())).0 += 1;
    }

    /// How often there is one of this kind.
    pub fn count(&self, doubt: Doubt) -> usize {
        self.by_kind.get(&doubt).map_or(0, |(count, _)| *count)
    }
}

/// One line a kind: ``3 x spans that begin or end inside a word (first: `ldhof` in 7)``.
impl fmt::Display for Doubts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (doubt, (count, first)) in &self.by_kind {
            writeln!(out, "{count} x {doubt} (first: {})", visible(first))?;
        }
        Ok(())
    }
}

fn cuts_word(text: &[char], span: Span) -> bool {
    let inside = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        before.zip(text.get(at)).is_some_and(|(before, after)| joins(*before) && joins(*after))
    };
    inside(span.start) || inside(span.end)
}

/// Whether a character is part of a word that blanks part from others. Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan
/// are written without; Korean particles follow their noun.
fn joins(character: char) -> bool {
    let without_blanks = matches!(
        u32::from(character),
        0x0e00..=0x109f | 0x1100..=0x11ff | 0x1780..=0x17ff | 0x2e80..=0x9fff | 0xa960..=0xa97f | 0xac00..=0xd7ff
            | 0xf900..=0xfaff | 0xff66..=0xffdc | 0x20000..=0x3ffff
    );
    character.is_alphanumeric() && !without_blanks
}

#[cfg(test)]
mod tests {
    use super::{Doubt, Doubts};
    use crate::{Entity, Example, Span};

    fn example(text: &str, spans: &[(usize, usize, &str)]) -> Example {
        let entity = |&(start, end, name): &(usize, usize, &str)| Entity {
            text: text.chars().skip(start).take(end - start).collect(),
            entity_type: name.to_owned(),
            span: Some(Span { start, end }),
        };
        Example {
            id: "7".to_owned(),
            text: text.to_owned(),
            entities: spans.iter().map(entity).collect(),
            queries: vec!["person".to_owned()],
        }
    }

    #[test]
    fn slips_are_found_and_good_spans_are_not() {
        let mut doubts = Doubts::default();
        doubts.look(&example(
            "Zoë Veldhof, B2B-Leiter; 東京都に住む",
            &[(0, 3, "person"), (4, 11, "person"), (25, 27, "city")],
        ));
        doubts.look(&example("It's Ann's", &[(5, 8, "person")]));
        doubts.finish();
        assert_eq!(doubts.to_string(), "");

        doubts.look(&example("Zoë Veldhof", &[(1, 3, "Person"), (4, 11, "person"), (4, 9, " ")]));
        doubts.look(&example(" \n", &[]));
        doubts.finish();
        for (doubt, count) in [
            (Doubt::CutWord, 2),
            (Doubt::Overlap, 1),
            (Doubt::EmptyText, 1),
            (Doubt::EmptyType, 1),
            (Doubt::AlikeTypes, 1),
        ] {
            assert_eq!(doubts.count(doubt), count, "{doubt}");
        }
        assert!(doubts.to_string().contains("(first: `oë` in 7)"), "{doubts}");
    }
}
