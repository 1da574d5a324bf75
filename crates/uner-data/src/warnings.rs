//! Warnings about data that can be trained on but is probably wrong: spans that cut words,
//! overlaps, type names that differ only in case.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::word::is_inside_word;
use crate::{Example, Span, visible};

/// A kind of warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// A span that begins or ends between two letters or digits of one word.
    CutWord,
    /// An entity that shares characters with one before it.
    Overlap,
    /// A text that is empty or only white space.
    EmptyText,
    /// A type whose name is empty or only white space.
    EmptyType,
    /// Types that differ only in letter case.
    AlikeTypes,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::CutWord => "spans that begin or end inside a word",
            Self::Overlap => "entities that overlap one before them",
            Self::EmptyText => "texts that are empty or only white space",
            Self::EmptyType => "entities or queries whose type has no name",
            Self::AlikeTypes => "types that differ only in letter case",
        })
    }
}

/// The warnings of a split: the number of each kind, and the first of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warnings {
    by_kind: BTreeMap<Warning, (usize, String)>,
    types: BTreeSet<String>,
}

impl Warnings {
    /// Checks an example.
    pub(crate) fn observe(&mut self, example: &Example) {
        let characters: Vec<char> = example.text.chars().collect();
        if example.text.trim().is_empty() {
            self.add(Warning::EmptyText, || example.id.clone());
        }
        let mut entities: Vec<_> =
            example.entities.iter().filter_map(|entity| Some((entity.span?, entity))).collect();
        entities.sort_by_key(|(span, _)| *span);
        let mut end = 0;
        for (span, entity) in entities {
            let location = || format!("`{}` in {}", entity.text, example.id);
            if cuts_word(&characters, span) {
                self.add(Warning::CutWord, location);
            }
            if span.start < end {
                self.add(Warning::Overlap, location);
            }
            end = end.max(span.end);
        }
        let names =
            example.entities.iter().map(|entity| &entity.entity_type).chain(&example.queries);
        for name in names {
            if name.trim().is_empty() {
                self.add(Warning::EmptyType, || example.id.clone());
            }
            if !self.types.contains(name) {
                self.types.insert(name.clone());
            }
        }
    }

    /// Compares the types with each other, after all examples have been checked.
    pub(crate) fn finish(&mut self) {
        let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in std::mem::take(&mut self.types) {
            alike.entry(name.to_lowercase()).or_default().push(name);
        }
        for names in alike.into_values().filter(|names| names.len() > 1) {
            self.add(Warning::AlikeTypes, || format!("`{}`", names.join("`, `")));
        }
    }

    fn add(&mut self, warning: Warning, location: impl FnOnce() -> String) {
        self.by_kind.entry(warning).or_insert_with(|| (0, location())).0 += 1;
    }

    /// Number of warnings of this kind.
    pub fn count(&self, warning: Warning) -> usize {
        self.by_kind.get(&warning).map_or(0, |(count, _)| *count)
    }
}

/// One line per kind: ``3 x spans that begin or end inside a word (first: `ldhof` in 7)``.
impl fmt::Display for Warnings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (warning, (count, first)) in &self.by_kind {
            writeln!(out, "{count} x {warning} (first: {})", visible(first))?;
        }
        Ok(())
    }
}

fn cuts_word(text: &[char], span: Span) -> bool {
    is_inside_word(text, span.start) || is_inside_word(text, span.end)
}

#[cfg(test)]
mod tests {
    use super::{Warning, Warnings};
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
            relations: Vec::new(),
            queries: vec!["person".to_owned()],
        }
    }

    #[test]
    fn slips_are_found_and_good_spans_are_not() {
        let mut warnings = Warnings::default();
        warnings.observe(&example(
            "Zoë Veldhof, B2B-Leiter; 東京都に住む",
            &[(0, 3, "person"), (4, 11, "person"), (25, 27, "city")],
        ));
        warnings.observe(&example("It's Ann's", &[(5, 8, "person")]));
        warnings.finish();
        assert_eq!(warnings.to_string(), "");

        warnings
            .observe(&example("Zoë Veldhof", &[(1, 3, "Person"), (4, 11, "person"), (4, 9, " ")]));
        warnings.observe(&example("Zoe\u{308}", &[(0, 3, "person")]));
        warnings.observe(&example(" \n", &[]));
        warnings.finish();
        for (warning, count) in [
            (Warning::CutWord, 3),
            (Warning::Overlap, 1),
            (Warning::EmptyText, 1),
            (Warning::EmptyType, 1),
            (Warning::AlikeTypes, 1),
        ] {
            assert_eq!(warnings.count(warning), count, "{warning}");
        }
        assert!(warnings.to_string().contains("(first: `oë` in 7)"), "{warnings}");
    }
}
