//! A model behind an API.
//!
//! With a journal ([`Client::with_journal`]), an evaluation that was killed sends no answered
//! request again: its folder has the examples that are complete, and the journal all other answers.

use std::ops::ControlFlow;

use uner_data::align::{self, align};
use uner_data::{Entity, FoundEntity, FoundRelation};
use uner_endpoint::prompts::{AllTypes, all_types, by_template, read_all_types, without_reasoning};
use uner_endpoint::{
    Client, End, EndpointError, Event, Failure, Problem, Request, Summary, Tokens,
};
use uner_prompt::mission::{self, Item};
use uner_prompt::{Characters, Template};

use crate::system::{OnAnswered, Questions};
use crate::{Answer, EvalError, System};

/// The words in which a model is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The prompt of a template, as chat messages: one request for each type, as with `zero-shot`,
    /// or one for all types of an example if the template asks for all at once.
    Template(Box<Template>),
    /// One request for all types of an example, as ChatGPT was measured for the paper of
    /// UniversalNER. [`all_types`] says how much of its wording is published.
    AllTypes,
}

impl Ask {
    /// The name in that of a system: the template's, or `all-types`.
    fn name(&self) -> &str {
        match self {
            Self::Template(template) => &template.name,
            Self::AllTypes => "all-types",
        }
    }

    /// Mentions of an item of an answer.
    fn arity(&self) -> usize {
        match self {
            Self::Template(template) => mission::of(template).arity(),
            Self::AllTypes => 1,
        }
    }

    /// The parts of an example's types that have a request each.
    fn parts<'a>(&self, types: &'a [String]) -> impl Iterator<Item = &'a [String]> + use<'a> {
        let size = match self {
            Self::Template(template) if !mission::asks_all_types(template) => 1,
            _ => types.len().max(1),
        };
        types.chunks(size)
    }
}

/// A model behind an API, as a system that is measured.
#[derive(Debug)]
pub struct EndpointSystem {
    /// The endpoint, with its limits and its journal.
    pub client: Client,
    /// The words in which it is asked.
    pub ask: Ask,
}

/// The content of a request.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    text: &'a str,
    types: &'a [String],
}

/// The endpoint has not been asked everything, because no money or tokens are left for it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the budget of model `{model}` has no room for the next of `{unsent}` requests: `{}` tokens are used, at a price of `{money}`; raise `budget` or `max_total_tokens` of the endpoint, and resume the evaluation",
    .tokens.input + .tokens.output
)]
struct BudgetReached {
    model: String,
    unsent: u64,
    tokens: Tokens,
    money: f64,
}

impl System for EndpointSystem {
    /// `endpoint:MODEL (PROMPT)`: answers to other prompts are those of another system.
    fn name(&self) -> String {
        format!("endpoint:{} ({})", self.client.endpoint().model, self.ask.name())
    }

    /// Answers are in the journal of the client.
    fn keeps_answers(&self) -> bool {
        true
    }

    /// A request that fails for good leaves its queries without an answer.
    ///
    /// # Errors
    /// [`EvalError::Stopped`] when `answered` cancels. [`EvalError::System`] when the endpoint
    /// cannot be reached or refuses everything, when its budget is reached, or when the journal
    /// cannot be written. The answers until then are in the journal.
    fn answer(
        &mut self,
        Questions { dataset, examples }: Questions,
        answered: &mut OnAnswered,
    ) -> Result<Vec<Vec<Answer>>, EvalError> {
        let of_example = examples.iter().flat_map(|example| {
            let parts = self.ask.parts(&example.queries);
            parts.map(|types| Question { text: &example.text, types })
        });
        let questions: Vec<Question> = of_example.collect();
        let outcomes = self.outcomes(dataset, &questions, answered)?;
        let mut answers = questions
            .iter()
            .zip(outcomes)
            .flat_map(|(question, outcome)| self.answers(*question, outcome));
        let of_example = |count: usize| answers.by_ref().take(count).collect();
        Ok(examples.iter().map(|example| example.queries.len()).map(of_example).collect())
    }
}

impl EndpointSystem {
    /// The outcome of each question's request.
    fn outcomes(
        &self,
        dataset: &str,
        questions: &[Question],
        answered: &mut OnAnswered,
    ) -> Result<Vec<Outcome>, EvalError> {
        let requests = questions.iter().map(|question| self.request(dataset, *question));
        let mut outcomes: Vec<Option<Outcome>> = vec![None; questions.len()];
        let mut done = 0;
        let on_event = |event: Event| -> ControlFlow<()> {
            if let Event::Answered { index, outcome } = event {
                done += questions[index].types.len();
                outcomes[index] = Some(outcome);
            }
            // Progress is passed on without a new answer, too, so that a wait can be cancelled.
            answered(done)
        };
        let Summary { usage, end } =
            self.client.complete_all(requests, on_event).map_err(system)?;
        match end {
            End::Complete => {}
            End::Interrupted => return Err(EvalError::Stopped),
            End::BudgetReached => return Err(system(self.budget_reached(usage.unsent))),
        }
        let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
        assert_eq!(outcomes.len(), questions.len(), "a complete run reports every request");
        self.check_reached(&outcomes)?;
        Ok(outcomes)
    }

    fn request(&self, dataset: &str, Question { text, types }: Question) -> Request {
        match &self.ask {
            Ask::Template(template) => {
                by_template(text, &mission::list_types(types), template, Some(dataset))
            }
            Ask::AllTypes => all_types(text, types),
        }
    }

    fn budget_reached(&self, unsent: u64) -> BudgetReached {
        BudgetReached {
            model: self.client.endpoint().model.clone(),
            unsent,
            tokens: self.client.spent_tokens(),
            money: self.client.spent_money(),
        }
    }

    /// The client gives an endpoint up after many failures in succession; a small benchmark has not
    /// so many requests. It must not be scored as if all were answered by nothing.
    fn check_reached(&self, outcomes: &[Outcome]) -> Result<(), EvalError> {
        let is_unreached = |outcome: &Outcome| {
            matches!(outcome, Err(Failure { problem: Problem::Connection(_), .. }))
        };
        match outcomes.last() {
            Some(Err(last)) if outcomes.iter().all(is_unreached) => {
                let (url, failures) = (self.client.endpoint().url.clone(), outcomes.len());
                Err(system(EndpointError::Unreachable { url, failures, last: last.clone() }))
            }
            _ => Ok(()),
        }
    }

    /// The answer to each type of a question.
    fn answers(&self, Question { text, types }: Question, outcome: Outcome) -> Vec<Answer> {
        let response = match outcome {
            Ok(response) => response,
            Err(failure) => {
                let missing = |name: &String| Answer::missing(name, failure.to_string());
                return types.iter().map(missing).collect();
            }
        };
        let (items, well_formed) = self.read(&response.text, types);
        let malformed = !well_formed || response.is_cut_off();
        let of_type = |(name, items): (&String, Vec<Item>)| {
            let answer = if self.ask.arity() == 1 {
                let mentions: Vec<String> = items.into_iter().flatten().collect();
                let list = uner_prompt::answer(&mentions, Characters::Utf8);
                let answer = Answer::of_entities(name, found(text, name, mentions));
                Answer { list: (list != response.text).then_some(list), ..answer }
            } else {
                let relation = |item| FoundRelation {
                    relation: align::relation(text, name, item),
                    probability: None,
                };
                Answer::of_relations(name, items.into_iter().map(relation).collect())
            };
            Answer { raw: response.text.clone(), malformed, ..answer }
        };
        types.iter().zip(items).map(of_type).collect()
    }

    /// The items of each type in the text of an answer, and whether it has the format that was
    /// asked for.
    fn read(&self, answer: &str, types: &[String]) -> (Vec<Vec<Item>>, bool) {
        match &self.ask {
            Ask::Template(template) => {
                let types: Vec<&str> = types.iter().map(String::as_str).collect();
                mission::read(without_reasoning(answer), &types, template)
            }
            Ask::AllTypes => {
                let AllTypes { mentions, well_formed } = read_all_types(answer, types);
                let items = |mentions: Vec<String>| mentions.into_iter().map(|text| vec![text]);
                (
                    mentions.into_iter().map(|of_type| items(of_type).collect()).collect(),
                    well_formed,
                )
            }
        }
    }
}

/// The end of a request.
type Outcome = Result<uner_endpoint::Answer, Failure>;

fn system(error: impl std::error::Error + Send + Sync + 'static) -> EvalError {
    EvalError::System(error.into())
}

/// Mentions with their spans, by the rule that free answers of our models have.
fn found(text: &str, entity_type: &str, mentions: Vec<String>) -> Vec<FoundEntity> {
    let spans = align(text, &mentions);
    let entity = |(text, span)| FoundEntity {
        entity: Entity { text, entity_type: entity_type.to_owned(), span },
        probability: None,
    };
    mentions.into_iter().zip(spans).map(entity).collect()
}
