//! The answers to the queries of a split, from the predictions of a file.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use indexmap::IndexSet;
use uner_data::align::align;
use uner_data::{DataError, Dataset, Entity, Example, FoundEntity, Span};

use super::characters::{Characters, tokens};
use super::file::{Mention, Position, Prediction, PredictionFile, checked, excerpt};
use super::matching::{ExampleKey, Match, Mismatch, matched};
use super::type_names::TypeNames;
use super::{Coverage, Predictions, PredictionsError};
use crate::{Answer, EvalError};

/// The predictions for a split.
#[derive(Debug)]
pub(super) struct Answers {
    path: PathBuf,
    predictions: Vec<Prediction>,
    /// The type of each of the file's labels.
    entity_types: Vec<Option<String>>,
    /// The prediction of each example, by its id.
    matches: HashMap<String, Match>,
}

impl Answers {
    /// Reads the predictions and matches them with the examples.
    pub(super) fn read(
        description: &Predictions,
        (dataset, split): (&Dataset, &str),
        root: &Path,
    ) -> Result<(Self, Coverage), EvalError> {
        let file = PredictionFile::read(description)?;
        let Split { first, examples, entity_types } = Split::read(dataset, split, root)?;
        let names = TypeNames::new(dataset, entity_types, &description.labels)?;
        let path = &description.path;
        let matches = matched(&examples, &file.predictions).map_err(|error| match error {
            Mismatch::Count => PredictionsError::Count {
                path: path.clone(),
                predictions: file.predictions.len(),
                dataset: dataset.name.clone(),
                split: split.to_owned(),
                examples: examples.len(),
            }
            .into(),
            Mismatch::Fault { prediction, problem } => {
                file.predictions[prediction].location.error(path, &problem)
            }
        })?;
        let coverage = coverage(&file, &examples, &matches, &names);
        if coverage.missing == coverage.examples {
            return Err(no_match(path, &file, (dataset, split), &first).into());
        }
        Ok((Self::new(path, file, examples, matches, &names), coverage))
    }

    fn new(
        path: &Path,
        mut file: PredictionFile,
        examples: Vec<ExampleKey>,
        matches: Vec<Option<Match>>,
        names: &TypeNames<'_>,
    ) -> Self {
        let mut is_used = vec![false; file.predictions.len()];
        matches.iter().flatten().for_each(|found| is_used[found.prediction] = true);
        for (prediction, is_used) in file.predictions.iter_mut().zip(is_used) {
            if !is_used {
                prediction.mentions = Vec::new();
            }
        }
        let matches = examples.into_iter().zip(matches);
        Self {
            path: path.to_owned(),
            predictions: file.predictions,
            entity_types: file.labels.iter().map(|label| names.of(label)).collect(),
            matches: matches.filter_map(|(example, found)| Some((example.id, found?))).collect(),
        }
    }

    /// The answers to the queries of an example.
    pub(super) fn of(&self, example: &Example) -> Result<Vec<Answer>, EvalError> {
        let queries = example.queries.iter();
        let Some(found) = self.matches.get(&example.id) else {
            let problem = format!("`{}` has no prediction for this text", self.path.display());
            return Ok(queries.map(|query| Answer::missing(query, problem.clone())).collect());
        };
        let prediction = &self.predictions[found.prediction];
        if let (Some(problem), []) = (&prediction.problem, prediction.mentions.as_slice()) {
            return Ok(queries.map(|query| Answer::missing(query, problem.clone())).collect());
        }
        let spans = self.spans(example, prediction, found.by_tokens)?;
        let malformed = prediction.malformed || prediction.problem.is_some();
        let answer = |query: &String| Answer {
            malformed,
            ..Answer::of_entities(
                query,
                self.entities(example, query, &prediction.mentions, &spans),
            )
        };
        Ok(queries.map(answer).collect())
    }

    /// The span of each mention in the example, but for mentions that have no position.
    fn spans(
        &self,
        example: &Example,
        prediction: &Prediction,
        by_tokens: bool,
    ) -> Result<Vec<Option<Span>>, EvalError> {
        let text = Characters::new(&example.text);
        let tokens = if by_tokens { tokens(&example.text) } else { Vec::new() };
        let span = |mention: &Mention| match &mention.position {
            Position::Text(_, Some(range)) if by_tokens => {
                let range = range.start as usize..range.end as usize;
                let tokens = tokens.get(range).filter(|tokens| !tokens.is_empty());
                Ok(tokens.map(|tokens| Span {
                    start: tokens[0].start,
                    end: tokens[tokens.len() - 1].end,
                }))
            }
            Position::Text(filled, _) => Ok(text.span(*filled)),
            Position::Offsets(span, written) => {
                checked(&text, *span, written.as_deref()).map(|filled| text.span(filled))
            }
            Position::Written(_) => Ok(None),
        };
        let spans = prediction.mentions.iter().map(span).collect::<Result<Vec<_>, String>>();
        spans.map_err(|problem| prediction.location.error(&self.path, &problem))
    }

    /// The mentions of a type. One that is predicted twice is one entity, with the higher score.
    fn entities(
        &self,
        example: &Example,
        query: &str,
        mentions: &[Mention],
        spans: &[Option<Span>],
    ) -> Vec<FoundEntity> {
        let of_type = mentions
            .iter()
            .zip(spans)
            .filter(|(mention, _)| self.entity_types[mention.label].as_deref() == Some(query));
        let (mut found, mut written): (Vec<FoundEntity>, Vec<String>) = (Vec::new(), Vec::new());
        for (mention, span) in of_type {
            match (&mention.position, *span) {
                (Position::Written(name), _) => written.push(name.clone()),
                (_, Some(span)) => {
                    let text = span.slice(&example.text).expect("the span is of this text");
                    add(&mut found, text, query, Some(span), mention.score);
                }
                (_, None) => {}
            }
        }
        let aligned = align(&example.text, &written);
        for (name, span) in written.iter().zip(aligned) {
            let is_repeated = || found.iter().any(|earlier| earlier.entity.text == *name);
            if span.is_some() || !is_repeated() {
                add(&mut found, name, query, span, None);
            }
        }
        found
    }
}

fn add(
    found: &mut Vec<FoundEntity>,
    text: &str,
    entity_type: &str,
    span: Option<Span>,
    score: Option<f64>,
) {
    let probability = score.filter(|score| (0.0..=1.0).contains(score));
    let mut others = found.iter_mut();
    if let Some(earlier) = others.find(|other| span.is_some() && other.entity.span == span) {
        if probability > earlier.probability {
            earlier.probability = probability;
        }
        return;
    }
    let (text, entity_type) = (text.to_owned(), entity_type.to_owned());
    found.push(FoundEntity { entity: Entity { text, entity_type, span }, probability });
}

/// The differences between predictions and examples.
fn coverage(
    file: &PredictionFile,
    examples: &[ExampleKey],
    matches: &[Option<Match>],
    names: &TypeNames<'_>,
) -> Coverage {
    let mut found = Coverage {
        examples: examples.len(),
        predictions: file.predictions.len(),
        below_threshold: file.below_threshold,
        unread_spans: file.unread_spans,
        ..Coverage::default()
    };
    let location = |prediction: usize| file.predictions[prediction].location.to_string();
    let (mut is_used, mut counts) =
        (vec![false; file.predictions.len()], vec![0; file.labels.len()]);
    for (example, found_match) in examples.iter().zip(matches) {
        let Some(Match { prediction, by_tokens }) = *found_match else {
            found.missing += 1;
            found.first_missing.get_or_insert_with(|| example.id.clone());
            continue;
        };
        is_used[prediction] = true;
        if by_tokens {
            found.by_tokens += 1;
            found.first_by_tokens.get_or_insert_with(|| location(prediction));
        }
        file.predictions[prediction].mentions.iter().for_each(|mention| counts[mention.label] += 1);
    }
    found.unmatched = is_used.iter().filter(|is_used| !**is_used).count();
    found.first_unmatched = is_used.iter().position(|is_used| !is_used).map(location);
    for (label, count) in file.labels.iter().zip(counts) {
        if count > 0 && names.of(label).is_none() {
            found.unknown_labels.insert(label.clone(), count);
        }
    }
    found
}

fn no_match(
    path: &Path,
    file: &PredictionFile,
    (dataset, split): (&Dataset, &str),
    first: &FirstExample,
) -> PredictionsError {
    let has_text = file.predictions[0].text.is_some();
    PredictionsError::NoMatch {
        path: path.to_owned(),
        predictions: file.predictions.len(),
        dataset: dataset.name.clone(),
        split: split.to_owned(),
        location: file.predictions[0].location.to_string(),
        prediction: file.first.clone(),
        example: if has_text { first.text.clone() } else { first.id.clone() },
    }
}

/// The first example, for messages.
#[derive(Default)]
struct FirstExample {
    id: String,
    /// The start of its text.
    text: String,
}

/// The examples of a split, without their texts.
struct Split {
    first: FirstExample,
    examples: Vec<ExampleKey>,
    /// The types of the description, or all types of the examples, which are the queries then.
    entity_types: IndexSet<String>,
}

impl Split {
    fn read(dataset: &Dataset, split: &str, root: &Path) -> Result<Self, EvalError> {
        let mut entity_types: IndexSet<String> =
            dataset.entity_types().into_iter().map(str::to_owned).collect();
        let is_listed = !entity_types.is_empty();
        let (mut examples, mut ids) = (Vec::new(), HashSet::new());
        let mut first = None;
        for example in uner_data::read(dataset, split, root)? {
            let Example { id, text, queries, .. } = example?;
            if !is_listed {
                entity_types.extend(queries);
            }
            if !ids.insert(id.clone()) {
                let (dataset, split) = (dataset.name.clone(), split.to_owned());
                return Err(DataError::RepeatedId { dataset, split, id }.into());
            }
            first.get_or_insert_with(|| FirstExample { id: id.clone(), text: excerpt(&text) });
            let (key, num_tokens) = (Characters::new(&text).key(), tokens(&text).len());
            examples.push(ExampleKey { id, text: key, num_tokens });
        }
        Ok(Self { first: first.unwrap_or_default(), examples, entity_types })
    }
}
