//! A language model as a system that is measured.

use burn::tensor::Device;
use uner_eval::system::{OnAnswered, Questions};
use uner_eval::{Answer, EvalError, System};
use uner_infer::{InferError, Predictor, Query, Response};

/// A language model that is measured.
#[derive(Debug)]
pub struct ModelSystem<'a> {
    /// Its name in reports.
    pub name: String,
    /// Answers the queries.
    pub predictor: &'a Predictor<'a>,
}

impl System for ModelSystem<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    /// A GPU answers so many in seconds. With fewer, it would wait for the longest answers, which
    /// are computed alone at the end of each call.
    fn examples_at_once(&self) -> usize {
        if self.predictor.device() == Device::flex() { 64 } else { 1024 }
    }

    fn answer(
        &mut self,
        Questions { dataset, examples }: Questions,
        answered: &mut OnAnswered,
    ) -> Result<Vec<Vec<Answer>>, EvalError> {
        let of_example = examples.iter().flat_map(|example| {
            example.queries.iter().map(|entity_type| Query {
                text: &example.text,
                entity_type,
                dataset: Some(dataset),
            })
        });
        let queries: Vec<Query> = of_example.collect();
        let responses = self.predictor.answer_each(&queries, answered).map_err(|error| {
            if matches!(error, InferError::Stopped) {
                EvalError::Stopped
            } else {
                EvalError::System(error.into())
            }
        })?;
        let mut answers = queries.iter().zip(responses).map(|(query, response)| match response {
            Ok(response) => answer(query.entity_type, response),
            Err(problem) => Answer::missing(query.entity_type, problem.to_string()),
        });
        let of_example = |count: usize| answers.by_ref().take(count).collect();
        Ok(examples.iter().map(|example| example.queries.len()).map(of_example).collect())
    }
}

fn answer(entity_type: &str, response: Response) -> Answer {
    let Response { raw, output, entities, relations, empty_probability, well_formed } = response;
    let malformed = !well_formed;
    if !relations.is_empty() {
        let answer = Answer::of_relations(entity_type, relations);
        return Answer { raw, empty_probability, malformed, ..answer };
    }
    Answer {
        entity_type: entity_type.to_owned(),
        list: (output != raw).then_some(output),
        raw,
        entities,
        empty_probability,
        malformed,
        ..Answer::default()
    }
}
