//! The state that is sharded over the ranks.

use serde::{Deserialize, Serialize};

/// The state that is sharded over the ranks (`ZeRO`, Rajbhandari et al. 2020).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharding {
    /// Nothing: every rank has all of the state.
    None,
    /// Master weights and moments.
    Zero1,
    /// As `Zero1`, and the parameters and gradients of the transformer blocks: see
    /// [`RankModel`](crate::RankModel).
    Zero3,
}
