//! Counts of a run, and estimates before it.

use std::time::Duration;

use crate::answer::{Answer, Tokens};
use crate::config::Prices;

/// Counts of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Requests that the endpoint answered in this run.
    pub requests: u64,
    /// Requests whose answer was in the journal, or that repeat another request of this run.
    pub cached: u64,
    /// Requests without an answer.
    pub failed: u64,
    /// Requests that were not sent because the run had ended before.
    pub unsent: u64,
    /// Attempts after the first one of their request.
    pub retries: u64,
    /// Tokens of the answered requests.
    pub tokens: Tokens,
    /// Answered requests whose tokens are an estimate, because the endpoint reports none.
    pub estimated: u64,
    /// The price of the tokens; 0 without prices.
    pub money: f64,
    /// Durations of the answered attempts, in milliseconds.
    latencies: Vec<u32>,
}

impl Usage {
    /// Counts an answer of the endpoint.
    pub(crate) fn add(&mut self, answer: &Answer, tokens: Tokens, prices: Option<Prices>) {
        self.requests += 1;
        self.estimated += u64::from(answer.tokens.is_none());
        self.tokens.input += tokens.input;
        self.tokens.output += tokens.output;
        self.money = money(self.tokens, prices);
        self.latencies.push(u32::try_from(answer.latency.as_millis()).unwrap_or(u32::MAX));
    }

    /// The latency that a fraction of the answered requests did not exceed: 0.5 is the median.
    /// `None` without answers.
    ///
    /// # Panics
    /// If `fraction` is not from 0 to 1.
    pub fn latency(&self, fraction: f64) -> Option<Duration> {
        assert!((0.0..=1.0).contains(&fraction), "`{fraction}` is not a fraction");
        let mut sorted = self.latencies.clone();
        let rank = (fraction * sorted.len() as f64).ceil() as usize;
        let index = rank.saturating_sub(1);
        if index >= sorted.len() {
            return None;
        }
        let (_, latency, _) = sorted.select_nth_unstable(index);
        Some(Duration::from_millis(u64::from(*latency)))
    }
}

/// A forecast of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// Requests that would be sent.
    pub requests: u64,
    /// Requests whose answer is in the journal, or that repeat another request.
    pub cached: u64,
    /// Estimated tokens of the prompts, and the most tokens of the answers. The latter is 0 if
    /// neither the endpoint nor the requests have `max_tokens`.
    pub tokens: Tokens,
    /// The price of these tokens; 0 without prices.
    pub money: f64,
}

/// The price of tokens.
pub(crate) fn money(tokens: Tokens, prices: Option<Prices>) -> f64 {
    let of = |tokens: u64, per_million: f64| tokens as f64 * per_million / 1e6;
    prices.map_or(0.0, |prices| {
        of(tokens.input, prices.input_per_million) + of(tokens.output, prices.output_per_million)
    })
}

/// Tokens of a text, if nothing better is known: a quarter of its characters, rounded up. A rule of
/// thumb for English; too low for scripts whose characters are words.
pub(crate) fn quarter_of_characters(text: &str) -> u64 {
    text.chars().count().div_ceil(4) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(latency: u64, tokens: Option<Tokens>) -> Answer {
        Answer {
            text: String::new(),
            finish_reason: None,
            tokens,
            model: None,
            time: 0,
            latency: Duration::from_millis(latency),
            cached: false,
        }
    }

    #[test]
    fn answers_are_counted() {
        let prices = Some(Prices { input_per_million: 2.0, output_per_million: 10.0 });
        let tokens = Tokens { input: 500_000, output: 50_000 };
        let mut usage = Usage::default();
        assert_eq!(usage.latency(0.5), None);
        for latency in [30, 10, 20, 40] {
            usage.add(&answer(latency, Some(tokens)), tokens, prices);
        }
        usage.add(&answer(50, None), Tokens::default(), prices);
        assert_eq!((usage.requests, usage.estimated), (5, 1));
        assert_eq!(usage.money, 4.0 + 2.0);
        let milliseconds = |fraction| usage.latency(fraction).unwrap().as_millis();
        assert_eq!([0.0, 0.5, 0.9, 1.0].map(milliseconds), [10, 30, 50, 50]);
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(quarter_of_characters("éééé"), 1);
        assert_eq!(quarter_of_characters("abcde"), 2);
    }
}
