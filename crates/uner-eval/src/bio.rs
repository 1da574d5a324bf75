//! Scores of a file of BIO tags (`uner score --bio`).

use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    EvalError, lines,
    semeval::{Mention, ModeScore, SemevalCounts, SemevalScores},
    seqeval::{Reading, SeqevalCounts, SeqevalScore, Tag, entities},
};

/// What [`score_bio`] finds. Spans are those of seqeval's default reading but in `seqeval_strict_IOB2`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BioReport {
    /// Number of lines scored.
    pub sentences: usize,
    /// Exact span and type.
    pub strict: ModeScore,
    /// Exact span.
    pub exact: ModeScore,
    /// Exact span, or half for an overlap.
    pub partial: ModeScore,
    /// Overlap and right type.
    pub ent_type: ModeScore,
    /// The same modes with gold and predictions of one type only, in alphabetical order.
    pub per_type: IndexMap<String, SemevalScores>,
    /// seqeval in its default mode.
    pub seqeval_default: SeqevalScore,
    /// seqeval in strict mode, scheme IOB2.
    #[serde(rename = "seqeval_strict_IOB2")]
    pub seqeval_strict_iob2: SeqevalScore,
}

/// One line of the file.
#[derive(Deserialize)]
struct Line {
    gold: Vec<String>,
    pred: Vec<String>,
}

#[derive(Default)]
struct Counts {
    sentences: usize,
    overall: SemevalCounts,
    per_type: IndexMap<String, SemevalCounts>,
    default: SeqevalCounts,
    strict: SeqevalCounts,
}

/// Scores JSON Lines of `{"gold": [tag, …], "pred": [tag, …]}`, one sentence per line, tags in BIO.
///
/// # Errors
/// A line that is not such an object, tags that are not BIO, and gold and predicted tags of different number, each
/// with file and line.
pub fn score_bio(path: &Path) -> Result<BioReport, EvalError> {
    let mut counts = Counts::default();
    for line in lines::read(path, "`{\"gold\": [tag, …], \"pred\": [tag, …]}`")? {
        let (place, line) = line?;
        match read_tags(&line) {
            Ok((gold, predicted)) => counts.add(&gold, &predicted),
            Err(problem) => return Err(place.error(problem)),
        }
    }
    Ok(counts.report())
}

fn read_tags(Line { gold, pred }: &Line) -> Result<(Vec<Tag>, Vec<Tag>), String> {
    if gold.len() != pred.len() {
        return Err(format!(
            "`{}` gold tags but `{}` predicted ones: tag every token once",
            gold.len(),
            pred.len()
        ));
    }
    let parse = |tags: &[String]| tags.iter().map(|tag| tag.parse()).collect::<Result<Vec<Tag>, _>>();
    Ok((parse(gold)?, parse(pred)?))
}

impl Counts {
    fn add(&mut self, gold: &[Tag], predicted: &[Tag]) {
        let strict = |tags| entities(tags, Reading::StrictIob2);
        self.strict.add(&strict(gold), &strict(predicted));
        let (gold, predicted) = (entities(gold, Reading::Default), entities(predicted, Reading::Default));
        self.default.add(&gold, &predicted);
        self.overall.merge(SemevalCounts::of_passage(&gold, &predicted));
        add_per_type(&mut self.per_type, &gold, &predicted);
        self.sentences += 1;
    }

    fn report(mut self) -> BioReport {
        self.per_type.sort_unstable_keys();
        let SemevalScores { strict, exact, partial, ent_type } = self.overall.score();
        BioReport {
            sentences: self.sentences,
            strict,
            exact,
            partial,
            ent_type,
            per_type: self.per_type.into_iter().map(|(name, counts)| (name, counts.score())).collect(),
            seqeval_default: self.default.score(),
            seqeval_strict_iob2: self.strict.score(),
        }
    }
}

/// Counts each type of a passage alone.
fn add_per_type(per_type: &mut IndexMap<String, SemevalCounts>, gold: &[Mention], predicted: &[Mention]) {
    let mut types: Vec<&str> = gold.iter().chain(predicted).map(|mention| mention.entity_type).collect();
    types.sort_unstable();
    types.dedup();
    for entity_type in types {
        let counts = SemevalCounts::of_passage(&only(entity_type, gold), &only(entity_type, predicted));
        per_type.entry(entity_type.to_owned()).or_default().merge(counts);
    }
}

fn only<'a>(entity_type: &str, mentions: &[Mention<'a>]) -> Vec<Mention<'a>> {
    mentions.iter().copied().filter(|mention| mention.entity_type == entity_type).collect()
}
