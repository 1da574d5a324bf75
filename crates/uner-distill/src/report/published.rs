//! The published distribution of types.

/// A band of types on UniversalNER's project page and in table 1 of the paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedBand {
    /// As [`uner_data::stats::Band`] names it.
    pub name: &'static str,
    /// Its number of types.
    pub num_types: usize,
    /// Its share of all mentions.
    pub share: f64,
}

/// The bands of the paper's data: 13,020 types and 240,725 mentions in 45,889 passages.
pub const PUBLISHED: [PublishedBand; 3] = [
    PublishedBand { name: "top 1 %", num_types: 130, share: 0.74 },
    PublishedBand { name: "1–10 %", num_types: 1172, share: 0.19 },
    PublishedBand { name: "rest", num_types: 11_718, share: 0.07 },
];
