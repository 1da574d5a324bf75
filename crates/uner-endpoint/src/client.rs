//! The client: an endpoint with its key, its limits and its journal.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ureq::Agent;

use crate::answer::{Answer, Tokens};
use crate::config::Endpoint;
use crate::error::EndpointError;
use crate::http::agent;
use crate::journal::{Entry, Journal};
use crate::limiter::Limiter;
use crate::request::{Key, Prepared, Request};
use crate::secret::Secret;
use crate::usage::{Estimate, money};

/// A client of one endpoint. [`Client::complete_all`] sends requests.
pub struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) secret: Secret,
    pub(crate) agent: Agent,
    pub(crate) limiter: Limiter,
    journal: Option<Mutex<Journal>>,
    /// Tokens of all answers of this model: those in the journal, and those since.
    spent: Mutex<Tokens>,
}

impl Client {
    /// A client without a journal: it forgets its answers. The key is read from the environment.
    ///
    /// # Errors
    /// [`EndpointError::Config`] if a value is unusable, [`EndpointError::Key`] if the key is
    /// missing.
    pub fn new(endpoint: Endpoint) -> Result<Self, EndpointError> {
        endpoint.check()?;
        Ok(Self {
            secret: Secret::read(endpoint.api_key_env.as_deref())?,
            agent: agent(&endpoint),
            limiter: Limiter::new(endpoint.requests_per_minute, endpoint.tokens_per_minute),
            journal: None,
            spent: Mutex::default(),
            endpoint,
        })
    }

    /// Reads and writes answers in a journal, which is created if it is missing. Several models
    /// and endpoints may share one, one after the other.
    ///
    /// # Errors
    /// [`EndpointError::JournalInUse`] if another client has it open,
    /// [`EndpointError::NotAJournal`] if the file is something else, which is then left as it is.
    pub fn with_journal(mut self, path: &Path) -> Result<Self, EndpointError> {
        let (journal, spent) = Journal::open(path, &self.endpoint)?;
        self.journal = Some(Mutex::new(journal));
        self.spent = Mutex::new(spent);
        Ok(self)
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Forecasts a run. Nothing is sent.
    pub fn estimate<'a>(&self, requests: impl IntoIterator<Item = &'a Request>) -> Estimate {
        let mut estimate = Estimate::default();
        let mut seen = HashSet::new();
        for request in requests {
            let prepared = self.prepare(request);
            if !seen.insert(prepared.key) || self.has(prepared.key) {
                estimate.cached += 1;
                continue;
            }
            estimate.requests += 1;
            estimate.tokens.input += prepared.input;
            estimate.tokens.output += prepared.output;
        }
        estimate.money = money(estimate.tokens, self.endpoint.prices);
        estimate
    }

    /// Tokens of all answers of this model: those that were in the journal, and those since.
    pub fn spent_tokens(&self) -> Tokens {
        *self.spent()
    }

    /// The price of [`Client::spent_tokens`]; 0 without prices.
    pub fn spent_money(&self) -> f64 {
        money(self.spent_tokens(), self.endpoint.prices)
    }

    /// Whether a request may be sent while others are in flight: whether all of them, as
    /// estimated, are within the limits of money and tokens.
    pub(crate) fn affords(&self, in_flight: Tokens, prepared: &Prepared) -> bool {
        let spent = self.spent_tokens();
        let expected = Tokens {
            input: spent.input + in_flight.input + prepared.input,
            output: spent.output + in_flight.output + prepared.output,
        };
        let endpoint = &self.endpoint;
        endpoint.budget.is_none_or(|budget| money(expected, endpoint.prices) <= budget)
            && endpoint.max_total_tokens.is_none_or(|most| expected.input + expected.output <= most)
    }

    pub(crate) fn prepare(&self, request: &Request) -> Prepared {
        Prepared::new(&self.endpoint, request)
    }

    /// Reads the answer to a request from the journal.
    pub(crate) fn cached(&self, key: Key) -> Result<Option<Answer>, EndpointError> {
        self.journal().map_or(Ok(None), |mut journal| journal.read(key))
    }

    /// Sets disk space aside for as many answers as are in flight.
    pub(crate) fn make_room(&self, answers: usize) -> Result<(), EndpointError> {
        self.journal().map_or(Ok(()), |mut journal| journal.make_room(answers))
    }

    /// Counts an answer that was paid for, and writes it to the journal.
    pub(crate) fn record(
        &self,
        key: Key,
        tokens: Tokens,
        entry: impl FnOnce() -> Entry,
    ) -> Result<(), EndpointError> {
        let mut spent = self.spent();
        spent.input += tokens.input;
        spent.output += tokens.output;
        drop(spent);
        self.journal().map_or(Ok(()), |mut journal| journal.append(key, &entry()))
    }

    /// Waits until the disk has the journal.
    pub(crate) fn sync(&self) -> Result<(), EndpointError> {
        self.journal().map_or(Ok(()), |journal| journal.sync())
    }

    fn has(&self, key: Key) -> bool {
        self.journal().is_some_and(|journal| journal.contains(key))
    }

    fn journal(&self) -> Option<MutexGuard<'_, Journal>> {
        let journal = self.journal.as_ref()?;
        Some(journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn spent(&self) -> MutexGuard<'_, Tokens> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let journal = self.journal().map(|journal| journal.path().to_owned());
        formatter
            .debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("key", &self.secret)
            .field("journal", &journal)
            .finish_non_exhaustive()
    }
}
