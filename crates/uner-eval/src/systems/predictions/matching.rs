//! Which prediction is for which example.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use super::characters::TextKey;
use super::file::Prediction;

/// The key of an example: its id and its text.
pub(super) struct ExampleKey {
    pub(super) id: String,
    pub(super) text: TextKey,
    pub(super) num_tokens: usize,
}

/// The prediction of an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) prediction: usize,
    /// Whether the texts differ in some tokens, so that entities have the positions of tokens.
    pub(super) by_tokens: bool,
}

/// The reason why predictions cannot be matched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// They are in the order of the examples, but not as many.
    Count,
    /// A fault of one prediction.
    Fault { prediction: usize, problem: String },
}

/// The prediction of each example: the one with its id, or else the first free one with its text,
/// or else with its text but for white space. Sentences of as many tokens, in files of as many
/// sentences as examples, are matched by order last: some taggers write other tokens. Predictions
/// without ids and texts are matched by order.
pub(super) fn matched(
    examples: &[ExampleKey],
    predictions: &[Prediction],
) -> Result<Vec<Option<Match>>, Mismatch> {
    let is_nameless =
        |prediction: &Prediction| prediction.id.is_none() && prediction.text.is_none();
    let Some(nameless) = predictions.iter().position(is_nameless) else {
        return by_keys(examples, predictions);
    };
    if !predictions.iter().all(is_nameless) {
        let problem = "the prediction has neither a text nor an id, but others have: write a text for each, or for none".to_owned();
        return Err(Mismatch::Fault { prediction: nameless, problem });
    }
    if predictions.len() != examples.len() {
        return Err(Mismatch::Count);
    }
    let in_order = (0..examples.len()).map(|prediction| Match { prediction, by_tokens: false });
    Ok(in_order.map(Some).collect())
}

/// The matches so far.
struct Matches<'a> {
    examples: &'a [ExampleKey],
    predictions: &'a [Prediction],
    found: Vec<Option<Match>>,
    is_free: Vec<bool>,
}

fn by_keys(
    examples: &[ExampleKey],
    predictions: &[Prediction],
) -> Result<Vec<Option<Match>>, Mismatch> {
    let mut matches = Matches {
        examples,
        predictions,
        found: vec![None; examples.len()],
        is_free: vec![true; predictions.len()],
    };
    let ids = ids(predictions)?;
    for (at, example) in examples.iter().enumerate() {
        let by_id = ids.get(example.id.as_str()).copied().flatten();
        let has_text = |prediction: &usize| {
            predictions[*prediction].text.is_none_or(|text| text.filled == example.text.filled)
        };
        if let Some(prediction) = by_id.filter(has_text) {
            matches.take(at, prediction, false);
        }
    }
    matches.by_text(|text| text.exact);
    matches.by_text(|text| text.filled);
    matches.by_tokens();
    for (example, found) in examples.iter().zip(&matches.found) {
        let other = ids.get(example.id.as_str()).copied().flatten();
        if let (None, Some(prediction)) = (found, other.filter(|other| matches.is_free[*other])) {
            let problem = format!(
                "the text of `{}` is not that of the example with this id: predict from the dataset's texts, or leave the ids out",
                example.id
            );
            return Err(Mismatch::Fault { prediction, problem });
        }
    }
    Ok(matches.found)
}

/// The prediction of each id; `None` if several have it, which must then have texts.
fn ids(predictions: &[Prediction]) -> Result<HashMap<&str, Option<usize>>, Mismatch> {
    let mut found: HashMap<&str, Option<usize>> = HashMap::new();
    for (at, prediction) in predictions.iter().enumerate() {
        let Some(id) = &prediction.id else { continue };
        let earlier = found.insert(id, Some(at));
        if earlier.is_none() {
            continue;
        }
        if prediction.text.is_none() {
            let problem =
                format!("the id `{id}` occurs twice: ids must be unique, or write the texts");
            return Err(Mismatch::Fault { prediction: at, problem });
        }
        found.insert(id, None);
    }
    Ok(found)
}

impl Matches<'_> {
    fn take(&mut self, example: usize, prediction: usize, by_tokens: bool) {
        self.found[example] = Some(Match { prediction, by_tokens });
        self.is_free[prediction] = false;
    }

    /// Matches the examples that are left with the predictions that are left, in order.
    fn by_text<K: Hash + Eq>(&mut self, key: fn(&TextKey) -> K) {
        let mut free: HashMap<K, VecDeque<usize>> = HashMap::new();
        for (at, prediction) in self.predictions.iter().enumerate() {
            if let Some(text) = prediction.text.as_ref().filter(|_| self.is_free[at]) {
                free.entry(key(text)).or_default().push_back(at);
            }
        }
        for (at, example) in self.examples.iter().enumerate() {
            if self.found[at].is_some() {
                continue;
            }
            let next = free.get_mut(&key(&example.text)).and_then(VecDeque::pop_front);
            if let Some(prediction) = next {
                self.take(at, prediction, false);
            }
        }
    }

    fn by_tokens(&mut self) {
        if self.predictions.len() != self.examples.len() {
            return;
        }
        for (at, example) in self.examples.iter().enumerate() {
            let is_same_length = self.predictions[at].num_tokens == Some(example.num_tokens);
            if self.found[at].is_none() && self.is_free[at] && is_same_length {
                self.take(at, at, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::characters::{Characters, tokens};
    use super::*;

    fn example(id: &str, text: &str) -> ExampleKey {
        let num_tokens = tokens(text).len();
        ExampleKey { id: id.to_owned(), text: Characters::new(text).key(), num_tokens }
    }

    fn prediction(id: Option<&str>, text: Option<&str>) -> Prediction {
        let text = text.map(|text| Characters::new(text).key());
        Prediction { id: id.map(str::to_owned), text, ..Prediction::default() }
    }

    fn numbers(examples: &[ExampleKey], predictions: &[Prediction]) -> Vec<Option<usize>> {
        let found = matched(examples, predictions).unwrap();
        found.into_iter().map(|found| found.map(|found| found.prediction)).collect()
    }

    #[test]
    fn repeated_texts_are_matched_in_order() {
        let examples = [example("a", "x y"), example("b", "z"), example("c", "x y")];
        let of = |text| prediction(None, Some(text));
        assert_eq!(
            numbers(&examples, &[of("z"), of("x y"), of("x y")]),
            [Some(1), Some(0), Some(2)]
        );
        assert_eq!(numbers(&examples, &[of("x y"), of("other")]), [Some(0), None, None]);
    }

    #[test]
    fn an_equal_text_is_preferred_to_other_white_space() {
        let examples = [example("a", "now here"), example("b", "nowhere")];
        let of = |text| prediction(None, Some(text));
        assert_eq!(numbers(&examples, &[of("nowhere"), of("now here")]), [Some(1), Some(0)]);
        assert_eq!(numbers(&examples, &[of("nowhere")]), [None, Some(0)]);
        assert_eq!(numbers(&examples, &[of("now  here")]), [Some(0), None]);
    }

    #[test]
    fn ids_go_first_unless_the_text_is_of_another_example() {
        let examples = [example("1", "x"), example("2", "x"), example("3", "y")];
        let of = |id, text| prediction(Some(id), text);
        assert_eq!(
            numbers(&examples, &[of("2", Some("x")), of("1", None)]),
            [Some(1), Some(0), None]
        );
        // Ids that number the rows of another file.
        assert_eq!(
            numbers(&examples, &[of("1", Some("y")), of("9", Some("x"))]),
            [Some(1), None, Some(0)]
        );
        // Ids of documents that the texts are parts of.
        let parts = [of("1", Some("y")), of("1", Some("x"))];
        assert_eq!(numbers(&examples, &parts), [Some(1), None, Some(0)]);
    }

    #[test]
    fn faults_name_the_prediction() {
        let examples = [example("1", "x"), example("2", "y")];
        let fault = |predictions: &[Prediction]| match matched(&examples, predictions) {
            Err(Mismatch::Fault { prediction, problem }) => (prediction, problem),
            other => panic!("{other:?}"),
        };
        let (at, problem) =
            fault(&[prediction(Some("2"), Some("y")), prediction(Some("1"), Some("z"))]);
        assert_eq!(at, 1);
        assert!(problem.contains("the text of `1` is not that of the example"), "{problem}");
        let (at, problem) = fault(&[prediction(Some("1"), None), prediction(Some("1"), None)]);
        assert!(at == 1 && problem.contains("`1` occurs twice"), "{problem}");
        let (at, problem) = fault(&[prediction(Some("1"), None), prediction(None, None)]);
        assert!(at == 1 && problem.contains("neither a text nor an id"), "{problem}");
        assert_eq!(matched(&examples, &[prediction(None, None)]), Err(Mismatch::Count));
    }

    #[test]
    fn sentences_with_other_tokens_are_matched_by_order_if_all_are_there() {
        let examples = [example("1", "& gt ;"), example("2", "b")];
        let of = |text: &str| Prediction {
            num_tokens: Some(tokens(text).len()),
            ..prediction(None, Some(text))
        };
        let found = matched(&examples, &[of("& get ;"), of("b")]).unwrap();
        assert_eq!(found[0], Some(Match { prediction: 0, by_tokens: true }));
        assert_eq!(found[1], Some(Match { prediction: 1, by_tokens: false }));
        assert_eq!(numbers(&examples, &[of("& get"), of("b")]), [None, Some(1)]);
        assert_eq!(numbers(&examples, &[of("& get ;"), of("b"), of("c")]), [None, Some(1)]);
    }
}
