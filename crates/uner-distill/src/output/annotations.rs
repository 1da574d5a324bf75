//! Passages with their answers, read and filtered, one at a time.

use std::path::Path;

use indexmap::IndexMap;
use uner_data::{Entity, Example};

use crate::answer::parse;
use crate::error::DistillError;
use crate::filter::{FilterConfig, Reasons, Spellings, TypeSpelling, entities, one_line, refused};
use crate::folder::{AnswerReader, AnswerRecord, Passages};
use crate::passage::Passage;

use super::Tally;

/// A passage whose answer was readable.
pub(super) struct Annotated {
    pub(super) passage: Passage,
    pub(super) record: AnswerRecord,
    /// The entities by type, types in the order of the answer, mentions in that of the text.
    pub(super) example: Example,
}

/// The annotated passages of a folder, in the order of the passages.
pub(super) struct Annotations {
    passages: Passages,
    answers: AnswerReader,
    filter: FilterConfig,
    spellings: Spellings,
    tally: Tally,
}

impl Annotations {
    /// Opens passages and answers. If types are to be merged, all answers are read once before.
    pub(super) fn open(
        folder: &Path,
        passages: &Path,
        filter: FilterConfig,
    ) -> Result<Self, DistillError> {
        let mut answers = AnswerReader::open(folder)?;
        let mut spellings = Spellings::default();
        if filter.types == TypeSpelling::Lower {
            for passage in Passages::open(passages)? {
                let record = answers.read(&passage?.id)?;
                let parsed = record.and_then(|record| parse(&record.answer));
                for (mention, entity_type) in parsed.map_or_else(Vec::new, |parsed| parsed.pairs) {
                    if refused(&mention, &entity_type, &filter).is_none() {
                        spellings.count(&one_line(&entity_type));
                    }
                }
            }
            spellings.choose();
        }
        let passages = Passages::open(passages)?;
        Ok(Self { passages, answers, filter, spellings, tally: Tally::default() })
    }

    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn annotated(&mut self, passage: Passage) -> Result<Option<Annotated>, DistillError> {
        let record = self.answers.read(&passage.id)?;
        let Some(record) = record else {
            self.tally.add_unanswered(&passage);
            return Ok(None);
        };
        self.tally.add_answer(&record);
        let Some(parsed) = parse(&record.answer) else {
            self.tally.add_unparseable(&passage, &record);
            return Ok(None);
        };
        let (is_complete, num_pairs) = (parsed.is_complete, parsed.pairs.len());
        let mut reasons = Reasons::default();
        let text = &passage.text;
        let found = entities(text, parsed, &self.filter, &self.spellings, &mut reasons);
        let example = Example::new(passage.id.clone(), text.clone(), by_type(found));
        self.tally.add_annotated(&passage, &example, is_complete, num_pairs, reasons);
        Ok(Some(Annotated { passage, record, example }))
    }
}

impl Iterator for Annotations {
    type Item = Result<Annotated, DistillError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let passage = self.passages.next()?;
            if let Some(item) = passage.and_then(|passage| self.annotated(passage)).transpose() {
                return Some(item);
            }
        }
    }
}

/// Groups entities by type, in text order, as conversations have them.
fn by_type(entities: Vec<Entity>) -> Vec<Entity> {
    let mut groups: IndexMap<String, Vec<Entity>> = IndexMap::new();
    for entity in entities {
        groups.entry(entity.entity_type.clone()).or_default().push(entity);
    }
    let in_order = groups.into_values().flat_map(|mut group| {
        group.sort_by_key(|entity| entity.span);
        group
    });
    in_order.collect()
}
