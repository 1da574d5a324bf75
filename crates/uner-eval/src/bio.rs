//! Scores of a file of tags in BIO, IOBES or BILOU (`uner score --bio`).

use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    EvalError, lines,
    semeval::{Mention, SemevalCounts, SemevalScores},
    seqeval::{Reading, SeqevalCounts, SeqevalScore, Tag, entities},
};

/// The result of [`score_bio`]. All scores except those of seqeval's strict mode use the spans of
/// its default reading. (seqeval's default mode does not read BILOU's `L-` and `U-` as tags; here
/// they are read as `E-` and `S-` are.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BioReport {
    /// Number of lines scored.
    pub sentences: usize,
    /// The SemEval-2013 modes.
    #[serde(flatten)]
    pub semeval: SemevalScores,
    /// The same modes for each type alone, in alphabetical order.
    pub per_type: IndexMap<String, SemevalScores>,
    /// The score of seqeval's default mode.
    pub seqeval_default: SeqevalScore,
    /// The score of seqeval's strict mode with the scheme IOB2, for a file in BIO.
    #[serde(rename = "seqeval_strict_IOB2", default, skip_serializing_if = "Option::is_none")]
    pub seqeval_strict_iob2: Option<SeqevalScore>,
    /// The same for a file in IOBES.
    #[serde(rename = "seqeval_strict_IOBES", default, skip_serializing_if = "Option::is_none")]
    pub seqeval_strict_iobes: Option<SeqevalScore>,
    /// The same for a file in BILOU.
    #[serde(rename = "seqeval_strict_BILOU", default, skip_serializing_if = "Option::is_none")]
    pub seqeval_strict_bilou: Option<SeqevalScore>,
}

/// The scheme of a file, from the letters of its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Iobes,
    Bilou,
}

impl Scheme {
    /// The scheme of a tag that does not exist in BIO.
    fn of(tag: &str) -> Option<Self> {
        match tag.as_bytes() {
            [b'E' | b'S', b'-', ..] => Some(Self::Iobes),
            [b'L' | b'U', b'-', ..] => Some(Self::Bilou),
            _ => None,
        }
    }
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
    /// `None` for BIO, until another tag is read.
    scheme: Option<Scheme>,
    strict_iob2: SeqevalCounts,
    strict_iobes: SeqevalCounts,
}

/// Scores JSON Lines of `{"gold": [tag, …], "pred": [tag, …]}`, one sentence per line, with tags in
/// BIO, IOBES or BILOU.
///
/// # Errors
/// A line is not such an object, a tag belongs to no scheme or to a second one, or the numbers of
/// gold and predicted tags differ. The error contains file and line.
pub fn score_bio(path: &Path) -> Result<BioReport, EvalError> {
    let (mut counts, mut is_empty) = (Counts::default(), true);
    for line in lines::read(path, "`{\"gold\": [tag, …], \"pred\": [tag, …]}`")? {
        let (place, line) = line?;
        is_empty = false;
        match counts.join_scheme(&line).and_then(|()| read_tags(&line)) {
            Ok((gold, predicted)) => counts.add(&gold, &predicted),
            Err(problem) => return Err(place.error(problem)),
        }
    }
    if is_empty {
        return Err(EvalError::Empty(path.to_owned()));
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
    let parse =
        |tags: &[String]| tags.iter().map(|tag| tag.parse()).collect::<Result<Vec<Tag>, _>>();
    Ok((parse(gold)?, parse(pred)?))
}

impl Counts {
    fn join_scheme(&mut self, Line { gold, pred }: &Line) -> Result<(), String> {
        for tag in gold.iter().chain(pred) {
            let scheme = Scheme::of(tag).or(self.scheme);
            if self.scheme.is_some() && scheme != self.scheme {
                return Err(format!(
                    "`{tag}` mixes two schemes: IOBES has `E-` and `S-`, BILOU has `L-` and `U-`"
                ));
            }
            self.scheme = scheme;
        }
        Ok(())
    }

    fn add(&mut self, gold: &[Tag], predicted: &[Tag]) {
        let strict = |tags| entities(tags, Reading::StrictIob2);
        self.strict_iob2.add(&strict(gold), &strict(predicted));
        let strict = |tags| entities(tags, Reading::StrictIobes);
        self.strict_iobes.add(&strict(gold), &strict(predicted));
        let (gold, predicted) =
            (entities(gold, Reading::Default), entities(predicted, Reading::Default));
        self.default.add(&gold, &predicted);
        self.overall.merge(SemevalCounts::of_passage(&gold, &predicted));
        add_per_type(&mut self.per_type, &gold, &predicted);
        self.sentences += 1;
    }

    fn report(mut self) -> BioReport {
        self.per_type.sort_unstable_keys();
        BioReport {
            sentences: self.sentences,
            semeval: self.overall.score(),
            per_type: self
                .per_type
                .into_iter()
                .map(|(name, counts)| (name, counts.score()))
                .collect(),
            seqeval_default: self.default.score(),
            seqeval_strict_iob2: self.scheme.is_none().then(|| self.strict_iob2.score()),
            seqeval_strict_iobes: (self.scheme == Some(Scheme::Iobes))
                .then(|| self.strict_iobes.score()),
            seqeval_strict_bilou: (self.scheme == Some(Scheme::Bilou))
                .then(|| self.strict_iobes.score()),
        }
    }
}

/// Counts each entity type of a passage separately.
fn add_per_type(
    per_type: &mut IndexMap<String, SemevalCounts>,
    gold: &[Mention],
    predicted: &[Mention],
) {
    let mut types: Vec<&str> =
        gold.iter().chain(predicted).map(|mention| mention.entity_type).collect();
    types.sort_unstable();
    types.dedup();
    for entity_type in types {
        let counts =
            SemevalCounts::of_passage(&only(entity_type, gold), &only(entity_type, predicted));
        per_type.entry(entity_type.to_owned()).or_default().merge(counts);
    }
}

fn only<'a>(entity_type: &str, mentions: &[Mention<'a>]) -> Vec<Mention<'a>> {
    mentions.iter().copied().filter(|mention| mention.entity_type == entity_type).collect()
}
