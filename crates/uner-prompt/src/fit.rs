//! Steps between encoding and packing: reordering the queries, and limiting the length.

use crate::conversation::Tokens;
use crate::error::PromptError;

/// Tokens that fit, and the number of queries dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// At most `max_seq_len` tokens, cut at the end of an exchange.
    pub tokens: Tokens,
    /// Number of queries dropped from the end.
    pub dropped_queries: usize,
}

/// Shortens tokens to `max_seq_len` by dropping whole queries from the end. The passage is never
/// shortened.
///
/// # Errors
/// [`PromptError::TooLong`] if the passage with one query does not fit (without any query: if the
/// passage does not fit).
pub fn fit(mut tokens: Tokens, max_seq_len: usize) -> Result<Fitted, PromptError> {
    let num_exchanges = tokens.exchanges.len();
    let num_fitting = tokens.exchanges.iter().take_while(|end| **end <= max_seq_len).count();
    if num_fitting < num_exchanges.min(2) {
        return Err(PromptError::TooLong {
            needed: tokens.exchanges[num_exchanges.min(2) - 1],
            passage: tokens.exchanges[0],
            max_seq_len,
        });
    }
    truncate(&mut tokens, num_fitting);
    Ok(Fitted { tokens, dropped_queries: num_exchanges - num_fitting })
}

/// Drops the queries that do not fit after the passage even alone, so that any one of the others
/// fits in any order.
///
/// # Errors
/// [`PromptError::TooLong`] if the passage fits with none of its queries (without any query: if the
/// passage does not fit).
pub fn drop_overlong(tokens: &Tokens, max_seq_len: usize) -> Result<Fitted, PromptError> {
    let passage = tokens.exchanges.first().copied().unwrap_or(0);
    let ranges = tokens.exchanges.windows(2).map(|pair| pair[0]..pair[1]);
    let (fitting, overlong): (Vec<_>, Vec<_>) =
        ranges.partition(|range| passage + range.len() <= max_seq_len);
    if overlong.is_empty() && passage <= max_seq_len {
        return Ok(Fitted { tokens: tokens.clone(), dropped_queries: 0 });
    }
    if fitting.is_empty() {
        let shortest = overlong.iter().map(ExactSizeIterator::len).min().unwrap_or(0);
        return Err(PromptError::TooLong { needed: passage + shortest, passage, max_seq_len });
    }
    let mut fitted = Tokens {
        ids: tokens.ids[..passage].to_vec(),
        loss_mask: tokens.loss_mask[..passage].to_vec(),
        exchanges: vec![passage],
    };
    for range in fitting {
        fitted.ids.extend_from_slice(&tokens.ids[range.clone()]);
        fitted.loss_mask.extend_from_slice(&tokens.loss_mask[range]);
        fitted.exchanges.push(fitted.ids.len());
    }
    Ok(Fitted { tokens: fitted, dropped_queries: overlong.len() })
}

fn truncate(tokens: &mut Tokens, num_exchanges: usize) {
    tokens.exchanges.truncate(num_exchanges);
    let length = tokens.exchanges.last().copied().unwrap_or(0);
    tokens.ids.truncate(length);
    tokens.loss_mask.truncate(length);
}

/// Cuts at `max_seq_len` as the released code does, even inside an answer or the passage. The rest
/// may carry no loss at all. Only for comparison with that code.
pub fn cut(mut tokens: Tokens, max_seq_len: usize) -> Tokens {
    if tokens.ids.len() > max_seq_len {
        tokens.ids.truncate(max_seq_len);
        tokens.loss_mask.truncate(max_seq_len);
        tokens.exchanges.retain(|end| *end < max_seq_len);
        tokens.exchanges.push(max_seq_len);
    }
    tokens
}

/// Reorders the queries of a conversation without tokenising again: query `order[i]` (from 0,
/// without the passage) moves to position `i`. The trainer calls this before every epoch.
///
/// # Panics
/// If `order` is not a permutation of the queries.
pub fn permute_queries(tokens: &Tokens, order: &[usize]) -> Tokens {
    let num_queries = tokens.exchanges.len().saturating_sub(1);
    let mut seen = vec![false; num_queries];
    for query in order {
        assert!(
            !std::mem::replace(&mut seen[*query], true),
            "query {query} occurs twice in order {order:?}"
        );
    }
    assert_eq!(order.len(), num_queries, "order {order:?} does not cover {num_queries} queries");
    let passage = tokens.exchanges.first().copied().unwrap_or(0);
    let mut permuted = Tokens {
        ids: Vec::with_capacity(tokens.ids.len()),
        loss_mask: Vec::with_capacity(tokens.ids.len()),
        exchanges: Vec::with_capacity(tokens.exchanges.len()),
    };
    permuted.ids.extend_from_slice(&tokens.ids[..passage]);
    permuted.loss_mask.extend_from_slice(&tokens.loss_mask[..passage]);
    permuted.exchanges.extend(tokens.exchanges.first());
    for query in order {
        let range = tokens.exchanges[*query]..tokens.exchanges[query + 1];
        permuted.ids.extend_from_slice(&tokens.ids[range.clone()]);
        permuted.loss_mask.extend_from_slice(&tokens.loss_mask[range]);
        permuted.exchanges.push(permuted.ids.len());
    }
    permuted
}
